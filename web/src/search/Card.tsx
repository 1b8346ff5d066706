import type { Match } from "../api/calls";
import { Picture } from "../Picture";
import { caption, Foreign } from "../text";
import { hypothesisOf } from "./words";

/** Narrower and wider pictures are shown whole, with a margin: their cards would be too narrow for words, or a row each. */
const [NARROWEST, WIDEST] = [0.75, 2.4];

/** Width by height of a card's picture. */
export function shapeOf({ width, height }: Match): number {
  return width && height ? Math.min(Math.max(width / height, NARROWEST), WIDEST) : 1;
}

/** One neighbour: its picture with what is to be said of it, how far it is, and its name. */
export function Card({ match, rank, share, open }: { match: Match; rank: number; share: number; open: (match: Match) => void }) {
  const { id, distance, metadata, thumbnail_url, same_bytes, same_pixels, larger, verdict } = match;
  const same = same_bytes ? "same bytes" : same_pixels ? "same pixels" : verdict && verdict !== "similar" ? verdict : "";
  const hypothesis = hypothesisOf(match);
  const times = Number((larger ?? 1).toFixed(1));
  return (
    <button className="match" title={id} onClick={() => open(match)}>
      <span className="frame">
        <Picture src={thumbnail_url} />
        <span className="rank">{rank}</span>
        <span className="marks">
          {same && <span className="same">{same}</span>}
          {hypothesis && <span className="hypothesis">{hypothesis}</span>}
          {times > 1 && <span className="larger">larger ×{times}</span>}
        </span>
      </span>
      <span className="distance"><b>{distance.toFixed(3)}</b><i className="bar"><i style={{ width: `${share * 100}%` }} /></i></span>
      <span className="caption"><Foreign text={caption(id, metadata)} max={60} /></span>
    </button>
  );
}
