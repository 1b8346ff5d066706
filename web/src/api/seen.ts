/** What this page has seen covered. Machines behind one address need not be equally far: nothing is shown later that covers less. */
import type { components } from "./schema";

type Coverage = components["schemas"]["Coverage"];

/** How long an answer that covers as much is waited for, and how long one machine may take of that: the next question may reach another one. */
export const WAIT_MS = 5000;
export const TURN_MS = 500;

let log = "";
let offsets: Record<string, number> = {};

/** The least that the next answer may cover, as `min_offsets`: what was seen, and what is asked for besides; "" before anything was. */
export function wanted(minOffsets = ""): string {
  const least = { ...offsets };
  for (const pair of minOffsets ? minOffsets.split(",") : []) {
    const [partition, offset] = pair.split(":") as [string, string];
    least[partition] = Math.max(Number(offset), least[partition] ?? 0);
  }
  return Object.entries(least).map((pair) => pair.join(":")).join(",");
}

/** Note what an answer covers, and say how that stands to what was seen. `foreign`: of another log, which may be an older one. */
export function take(coverage: Coverage): "as much" | "less" | "foreign" {
  if (coverage.log !== log) {
    // The ends of partitions are told only of the log that Kafka's topic is now.
    if (log && coverage.end_offsets === null) return "foreign";
    log = coverage.log;
    offsets = {};
  }
  const isLess = Object.entries(offsets).some(([partition, offset]) => (coverage.offsets[partition] ?? 0) < offset);
  for (const [partition, offset] of Object.entries(coverage.offsets)) offsets[partition] = Math.max(offset, offsets[partition] ?? 0);
  return isLess ? "less" : "as much";
}
