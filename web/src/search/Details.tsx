import { useEffect, useRef, useState } from "react";

import { image, remove, search, type ImageAnswer, type Match } from "../api/calls";
import { date, Foreign, plain, size } from "../text";
import { Picture } from "../Picture";
import { Comparison } from "./Comparison";
import type { usePicture } from "./picture";
import { asRefusal, type Found } from "./useSearch";
import { cameraOf, editsOf, hypothesisOf, verdictOf } from "./words";
import { History } from "./History";

type Props = {
  match: Match; isAsking: boolean; open: (match: Match) => void; found: Found; query: ReturnType<typeof usePicture>;
  close: () => void; removed: () => void; ask: (question: Found["question"]) => void;
};

/** Everything about one neighbour, beside the query; the arrow keys go on to the others. */
export function Details({ match, isAsking, open, found, query: { picture, instead }, close, removed, ask }: Props) {
  const { question, answer: { matches } } = found;
  const dialog = useRef<HTMLDialogElement>(null);
  const [known, setKnown] = useState<ImageAnswer | null>(null);
  const [problem, setProblem] = useState("");
  useEffect(() => dialog.current!.showModal(), []);
  useEffect(() => {
    setKnown(null);
    setProblem("");
    const gone = new AbortController();
    image(match.id, gone.signal).then(setKnown, (error: unknown) => gone.signal.aborted || setProblem(asRefusal(error).message));
    return () => gone.abort();
  }, [match.id]);
  const original = known?.original_url ?? match.thumbnail_url;
  const at = matches.indexOf(match);
  const step = (by: number) => { if (matches[at + by]) open(matches[at + by]!); };
  const own = question.kind === "id" ? matches.find(({ id }) => id === question.id) : null;
  const querySize = own?.width && own.height ? { width: own.width, height: own.height } : null;
  return (
    <dialog
      ref={dialog} aria-labelledby="details-title" onClose={close}
      onClick={(event) => event.target === dialog.current && dialog.current.close()}
      onKeyDown={({ key, target }) => {
        if (target instanceof HTMLInputElement) return; // the slider has the arrow keys for itself
        if (key === "ArrowLeft" || key === "ArrowRight") step(key === "ArrowLeft" ? -1 : 1);
      }}
    >
      <div className="details">
        <header>
          <h2 id="details-title"><Foreign text={match.id} max={256} /></h2>
          <Steps at={at} of={matches.length} step={step} />
          <button className="close" aria-label="Close" onClick={() => dialog.current!.close()}>×</button>
        </header>
        <Verdict match={match} isAsking={isAsking && !match.verdict} />
        {picture
          ? <Comparison key={match.id} query={picture} queryInstead={instead} querySize={querySize} result={original} resultInstead={match.thumbnail_url} match={match} />
          : <Picture src={original} instead={match.thumbnail_url} />}
        {problem && <p className="problem" role="alert"><Foreign text={problem} /></p>}
        <Facts match={match} known={known} />
        {known?.history && <History records={known.history} isComplete={known.history_complete} />}
        <footer>
          <button className="main" onClick={() => ask({ kind: "id", id: match.id })}>Search with this one</button>
          <a className="button" href={original} download>Download original</a>
          <Delete key={match.id} id={match.id} done={() => { dialog.current!.close(); removed(); }} failed={setProblem} />
        </footer>
      </div>
    </dialog>
  );
}

function Steps({ at, of, step }: { at: number; of: number; step: (by: number) => void }) {
  if (at < 0) return null;
  return (
    <span className="stepping">
      <button aria-label="Previous result" disabled={at === 0} onClick={() => step(-1)}>‹</button>
      <span>{at + 1} of {of}</span>
      <button aria-label="Next result" disabled={at + 1 === of} onClick={() => step(1)}>›</button>
    </span>
  );
}

/** What the match is to the query, and what was done to it. */
function Verdict({ match, isAsking }: { match: Match; isAsking: boolean }) {
  const done = editsOf(match);
  return (
    <div className="verdict" role="status" aria-busy={isAsking}>
      {isAsking ? <p className="hint">Looking whether it is a copy …</p> : match.verdict && (
        <>
          <p><b>{verdictOf(match)}</b>{match.verdict === "altered copy" && (done.length ? ": your image is this one, but" : ": nothing that can be named was done to it.")}</p>
          {done.length > 0 && <ul>{done.map((words) => <li key={words}>{words}</li>)}</ul>}
        </>
      )}
    </div>
  );
}

function Facts({ match, known }: { match: Match; known: ImageAnswer | null }) {
  const { source } = match;
  const hypothesis = hypothesisOf(match);
  const metadata = Object.entries(known?.metadata ?? match.metadata ?? {});
  return (
    <dl className="facts">
      {hypothesis && <><dt>Found</dt><dd>{hypothesis}</dd></>}
      <dt>Distance</dt><dd>{match.distance.toFixed(6)}</dd>
      <dt>Size</dt><dd>{match.width ?? "–"} × {match.height ?? "–"} pixels{known?.size_bytes != null && `, ${size(known.size_bytes)}`}</dd>
      <dt>Type</dt><dd>{match.media_type ?? "unknown while the store is away"}{match.truncated && ", the file lacks its end"}</dd>
      <dt>Came</dt><dd>{date(source.timestamp)}</dd>
      <dt>Kafka record</dt><dd><Foreign text={source.log} />, partition {source.partition}, offset {source.offset}</dd>
      {known?.camera && cameraOf(known.camera).map(([name, value]) => (
        <div key={`camera ${name}`}><dt>{name}</dt><dd><Foreign text={value} /></dd></div>
      ))}
      {metadata.map(([name, value]) => (
        <div key={name}><dt><Foreign text={name} max={60} /></dt><dd><Foreign text={plain(value)} max={1000} /></dd></div>
      ))}
    </dl>
  );
}

/** Asks once more, publishes the delete, and is done when an answer covers it. */
function Delete({ id, done, failed }: { id: string; done: () => void; failed: (problem: string) => void }) {
  const [step, setStep] = useState<"idle" | "sure" | "deleting">("idle");
  const confirm = async () => {
    setStep("deleting");
    try {
      const { min_offsets } = await remove(id);
      await covered(min_offsets);
      done();
    } catch (error) {
      failed(asRefusal(error).message);
      setStep("idle");
    }
  };
  if (step === "idle") return <button className="danger" onClick={() => setStep("sure")}>Delete</button>;
  return (
    <button className="danger" autoFocus disabled={step === "deleting"} onClick={() => void confirm()}>
      {step === "sure" ? "Really delete?" : "Deleting …"}
    </button>
  );
}

/** Wait until the index covers these offsets, by a search that looks for as good as nothing. */
async function covered(minOffsets: string): Promise<void> {
  const pixel = document.createElement("canvas");
  pixel.width = pixel.height = 28;
  const blank = await new Promise<Blob | null>((resolve) => pixel.toBlob(resolve, "image/png"));
  await search({ kind: "image", image: blank!, name: "", minOffsets }, 1);
}
