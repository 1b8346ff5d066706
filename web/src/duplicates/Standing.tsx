import type { Duplicates } from "../api/calls";
import { count, date } from "../text";

/** What was compared and when, and how far the run has come that is going on. */
export function Standing({ answer, search }: { answer: Duplicates | null; search: () => void }) {
  if (!answer) return <p className="hint" role="status">Asking …</p>;
  const { run, progress } = answer;
  return (
    <div className="run">
      <p className="hint" role="status">
        {run
          ? <>{count(run.count)} images compared with one another within {run.max_distance}, {date(run.finished_at)}, generation {count(run.generation)}.</>
          : "All images are being compared with one another for the first time."}
        {run && run.unjudged > 0 && <> {count(run.unjudged)} pairs wait for a verdict; until then they are near ones.</>}
        {answer.degraded.length > 0 && <> The store is away: {answer.degraded.join(" and ")} will be back.</>}
      </p>
      {answer.state === "computing"
        ? <label className="progress"><progress value={progress?.share ?? 0} max={1} /> <span>{progress?.step || "starting"}</span></label>
        : run && (!run.current || run.unjudged > 0) && <button onClick={search}>Search again</button>}
    </div>
  );
}
