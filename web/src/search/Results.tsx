import type { Match } from "../api/calls";
import { caption, count, Foreign, ms } from "../text";
import type { Found } from "./useSearch";

// What lets coverage stand still, as an answer's `degraded` names it.
const PARTS = ["embedder", "indexer", "cassandra"];

/** The neighbours, in the order that was asked for, and what the answer covers. */
export function Results({ found, open }: { found: Found; open: (match: Match) => void }) {
  const { matches, degraded } = found.answer;
  const stalled = degraded.filter((part) => PARTS.includes(part));
  const missing = degraded.filter((part) => !PARTS.includes(part));
  const farthest = Math.max(...matches.map(({ distance }) => distance), 1e-9);
  return (
    <>
      <ol className="grid">
        {matches.map((match, n) => (
          <li key={match.id}><Card match={match} rank={n + 1} share={match.distance / farthest} open={open} /></li>
        ))}
      </ol>
      {!matches.length && <p className="hint">The index is empty. Add an image first.</p>}
      {missing.length > 0 && <p className="problem">The store is away: ids and distances are exact, {missing.join(", ")} will be back.</p>}
      {stalled.length > 0 && <p className="problem">The index stands still ({stalled.join(", ")}): what was published lately is not among these.</p>}
      <Covered found={found} />
    </>
  );
}

function Card({ match, rank, share, open }: { match: Match; rank: number; share: number; open: (match: Match) => void }) {
  const { id, distance, metadata, thumbnail_url, same_bytes, same_pixels, larger, verdict } = match;
  const same = same_bytes ? "same bytes" : same_pixels ? "same pixels" : verdict === "altered copy" ? verdict : "";
  return (
    <button className="match" onClick={() => open(match)}>
      <span className="rank">{rank}</span>
      <img src={thumbnail_url} alt="" width={96} height={96} />
      {same && <span className="same">{same}</span>}
      {larger != null && <span className="larger">larger ×{Number(larger.toFixed(1))}</span>}
      <span className="distance"><b>{distance.toFixed(3)}</b><i className="bar"><i style={{ width: `${share * 100}%` }} /></i></span>
      <span className="caption"><Foreign text={caption(metadata) || id} max={60} /></span>
    </button>
  );
}

function Covered({ found: { answer: { coverage, timing_ms: took }, tookMs } }: { found: Found }) {
  const offsets = Object.entries(coverage.offsets).map(([partition, offset]) => `${partition}:${offset}`).join("  ");
  const stages = (["decode", "encode", "search", "lookup"] as const).filter((stage) => took[stage] > 0);
  return (
    <dl className="covered">
      <div><dt>Covers</dt><dd>{count(coverage.count)} images, {coverage.exact && "exactly"}</dd></div>
      <div><dt>Up to</dt><dd>{offsets}</dd></div>
      <div>
        <dt>Took</dt>
        <dd>{ms(tookMs)} here, {ms(took.total)} there: {stages.map((stage) => `${stage} ${took[stage].toFixed(1)}`).join(", ")}</dd>
      </div>
      <div><dt>Generation</dt><dd>{count(coverage.generation)}</dd></div>
    </dl>
  );
}
