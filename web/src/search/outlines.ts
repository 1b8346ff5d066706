/** Where two pictures show the same, as outlines in each of them. Places count in pixels, from the corner of the first. */
import type { Match } from "../api/calls";

export type Size = { width: number; height: number };
export type Place = readonly [x: number, y: number];
/** `label` names what it shows; a `rough` one is a part that was tried, not what was measured. */
export type Outline = { corners: Place[]; label?: string; isRough?: boolean };

/** What query and match both show: in the query, or in the match. */
export function sharedIn(picture: "query" | "match", { outline }: Match): Outline[] {
  // The API counts from the middle of the first pixel.
  return outline ? [{ corners: outline[picture].map(([x, y]) => [x! + 0.5, y! + 0.5]) }] : [];
}

/** The part of the query that found the match, if a part did: `part-40-0-100` has 40 % of both sides, as far left and down as it can be. */
export function partOf({ hypothesis }: Match, { width, height }: Size): Outline[] {
  const found = /^part-(\d+)-(\d+)-(\d+)$/.exec(hypothesis ?? "");
  if (!found) return [];
  const [share, x, y] = found.slice(1).map((percent) => Number(percent) / 100) as [number, number, number];
  const [left, top] = [(1 - share) * x * width, (1 - share) * y * height];
  const [right, bottom] = [left + share * width, top + share * height];
  return [{ corners: [[left, top], [right, top], [right, bottom], [left, bottom]], isRough: true }];
}

/** Where in the query its copies lie, by their ranks: each place once, with all that are found there or within it; none of copies that fill the query. */
export function finds(matches: readonly Match[], query: Size): Outline[] {
  const found: { outline: Outline; bounds: Bounds; ranks: number[] }[] = [];
  matches.forEach((match, n) => {
    if (!match.verdict || match.verdict === "similar") return;
    const [outline] = [...sharedIn("query", match), ...partOf(match, query)];
    if (!outline) return;
    const bounds = boundsOf(outline.corners);
    if (areaOf(bounds) > FILLED * query.width * query.height) return;
    const before = found.find((other) => sharedArea(other.bounds, bounds) > WITHIN * areaOf(bounds));
    if (before) before.ranks.push(n + 1);
    else found.push({ outline, bounds, ranks: [n + 1] });
  });
  return found.map(({ outline, ranks }) => ({ ...outline, label: `${ranks.slice(0, 4).join(", ")}${ranks.length > 4 ? " …" : ""}` }));
}

type Bounds = readonly [left: number, top: number, right: number, bottom: number];
const FILLED = 0.85;
const WITHIN = 0.75;

function boundsOf(corners: readonly Place[]): Bounds {
  const [xs, ys] = [corners.map(([x]) => x), corners.map(([, y]) => y)];
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

const areaOf = ([left, top, right, bottom]: Bounds): number => Math.max(0, right - left) * Math.max(0, bottom - top);

const sharedArea = (one: Bounds, other: Bounds): number =>
  areaOf([Math.max(one[0], other[0]), Math.max(one[1], other[1]), Math.min(one[2], other[2]), Math.min(one[3], other[3])]);
