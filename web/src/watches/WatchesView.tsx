import { watchImageUrl, thumbnailUrl, type IndexAnswer, type Matched, type Question, type Watch } from "../api/calls";
import { Picture } from "../Picture";
import { date, Foreign, time } from "../text";
import { useWatches } from "./useWatches";

type Props = { index: IndexAnswer | null; ask: (question: Question) => void };

/** The watches, and what matched them: what comes while one looks is shown at once. */
export function WatchesView({ index, ask }: Props) {
  const { watches, matches, problem, remove } = useWatches();
  return (
    <div className="watches">
      <h1>Watches</h1>
      {problem && <p className="problem" role="alert"><b>{problem.code}</b> <Foreign text={problem.message} /></p>}
      {watches === null && !problem && <p className="hint">Reading your watches …</p>}
      {watches?.length === 0 && <p className="hint">Nothing is watched. Search for an image, and choose “Tell me when such an image comes”.</p>}
      <ul className="lives">
        {watches?.map((watch) => (
          <Watched key={watch.id} watch={watch} matches={matches.get(watch.id) ?? []} index={index} ask={ask} remove={remove} />
        ))}
      </ul>
    </div>
  );
}

type WatchedProps = Props & { watch: Watch; matches: readonly Matched[]; remove: (id: string) => void };

function Watched({ watch, matches, index, ask, remove }: WatchedProps) {
  const name = watch.name || "without a name";
  return (
    <li className="life card">
      <span className="preview">{watch.has_image && <Picture src={watchImageUrl(watch.id)} />}</span>
      <div>
        <h2 className="file"><Foreign text={name} max={120} /></h2>
        <p className="hint">
          Distance at most {watch.max_distance} · since {date(watch.created_at)}
          {watch.webhook && <> · told to <Foreign text={watch.webhook} max={60} /></>}
        </p>
        <p role="status" className="hint">{matches.length ? `${matches.length === 24 ? "The last 24" : matches.length} matched, the last at ${time(matches[0]!.created_at)}` : "Nothing has matched yet"}</p>
        <ul className="strip">
          {matches.map((match) => (
            <li key={match.id}>
              <button
                onClick={() => ask({ kind: "id", id: match.image })} title={`${match.image.slice(0, 80)}, ${match.verdict ?? ""} ${match.distance.toFixed(3)}`}
                aria-label={`Search with ${match.image.slice(0, 80)}, distance ${match.distance.toFixed(3)}`}
              >
                {isServed(match, index) && <Picture src={thumbnailUrl(match.image)} />}
              </button>
            </li>
          ))}
        </ul>
      </div>
      <button className="danger" onClick={() => remove(watch.id)} aria-label={`Delete the watch ${name.slice(0, 80)}`}>Delete</button>
    </li>
  );
}

/** A watch may be told of an image a moment before it can be searched. */
function isServed({ source }: Matched, index: IndexAnswer | null): boolean {
  return !!index && (index.coverage.log !== source.log || (index.coverage.offsets[source.partition] ?? 0) > source.offset);
}
