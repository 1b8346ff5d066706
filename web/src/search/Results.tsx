import type { CSSProperties } from "react";

import type { Effort, IndexAnswer, Match } from "../api/calls";
import { count, ms } from "../text";
import { Card, shapeOf } from "./Card";
import type { Found } from "./useSearch";

// What lets coverage stand still, as an answer's `degraded` names it.
const PARTS = ["embedder", "indexer", "cassandra"];

/** The neighbours, in the order that was asked for, and what the answer covers. */
export function Results({ found, index, open }: { found: Found; index: IndexAnswer | null; open: (match: Match) => void }) {
  const { matches, degraded } = found.answer;
  const stalled = degraded.filter((part) => PARTS.includes(part));
  const missing = degraded.filter((part) => !PARTS.includes(part));
  const farthest = Math.max(...matches.map(({ distance }) => distance), 1e-9);
  const isEven = new Set(matches.map(shapeOf)).size === 1;
  return (
    <>
      <ol className="grid" data-even={isEven || undefined} style={{ "--shape": isEven ? shapeOf(matches[0]!) : 1 } as CSSProperties}>
        {matches.map((match, n) => (
          <li key={match.id} style={{ "--shape": shapeOf(match) } as CSSProperties}>
            <Card match={match} rank={n + 1} share={match.distance / farthest} open={open} />
          </li>
        ))}
      </ol>
      {!matches.length && <p className="hint">The index is empty. Add an image first.</p>}
      {missing.length > 0 && <p className="problem">The store is away: ids and distances are exact, {missing.join(", ")} will be back.</p>}
      {stalled.length > 0 && <p className="problem">The index stands still ({stalled.join(", ")}): what was published lately is not among these.</p>}
      <Covered found={found} index={index} />
    </>
  );
}

function Covered({ found: { answer: { coverage, timing_ms: took }, effort, tookMs }, index }: { found: Found; index: IndexAnswer | null }) {
  const offsets = Object.entries(coverage.offsets).map(([partition, offset]) => `${partition}:${offset}`).join("  ");
  const stages = (["decode", "encode", "search", "lookup"] as const).filter((stage) => took[stage] > 0);
  return (
    <dl className="covered">
      <div><dt>Covers</dt><dd>{count(coverage.count)} images, {coverage.exact ? "exactly" : nearly(index, effort)}</dd></div>
      <div><dt>Up to</dt><dd>{offsets}</dd></div>
      <div>
        <dt>Took</dt>
        <dd>{ms(tookMs)} here, {ms(took.total)} there: {stages.map((stage) => `${stage} ${took[stage].toFixed(1)}`).join(", ")}</dd>
      </div>
      <div><dt>Generation</dt><dd>{count(coverage.generation)}</dd></div>
    </dl>
  );
}

/** How much of what it should have an answer that is not exact has, as far as that was measured. */
function nearly(index: IndexAnswer | null, effort: Effort): string {
  const recall = index?.recall?.[effort];
  const searches = index?.recall_searches?.[effort];
  if (recall === undefined || !searches) return "about: how many of the nearest are found is not measured yet";
  // Rounded down, so that what misses some is never told as all.
  const share = Math.floor(recall * 1000) / 10;
  return `about: ${share} % of the nearest are found, measured over ${count(searches)} ${searches === 1 ? "search" : "searches"}`;
}
