/** What a verdict says, in words. */
import type { Edit, Match } from "../api/calls";

const percent = (share: number): string => `${Math.round(Math.abs(share) * 100)} %`;

/** The verdict and how sure it is: `Altered copy, 98 % sure`. */
export function verdictOf({ verdict, confidence }: Match): string {
  if (!verdict) return "";
  const name = verdict[0]!.toUpperCase() + verdict.slice(1);
  if (verdict === "same bytes" || verdict === "same pixels" || confidence == null) return name;
  const sure = Math.round((verdict === "similar" ? 1 - confidence : confidence) * 100);
  return `${name}, ${sure > 99 ? "more than 99" : sure} % sure`;
}

/** What was done to the match to get the query, one thing after the other. */
export function editsOf(match: Match): string[] {
  return (match.edits ?? []).map((edit) => inWords(edit, match));
}

function inWords({ name, amount, unit }: Edit, match: Match): string {
  switch (name) {
    case "shift": return `shifted by ${amount.toFixed(1)} px${direction(match)}`;
    case "rotation": return `turned ${Math.abs(amount).toFixed(1)}° ${amount > 0 ? "counter-clockwise" : "clockwise"}`;
    case "scale": return `scaled to ${percent(amount)}`;
    case "crop": return `cropped by ${percent(amount)}`;
    case "inversion": return "inverted";
    case "blur": return `blurred by ${amount.toFixed(1)} px`;
    case "noise": return `noise of ${percent(amount)}`;
    case "jpeg": return `saved as JPEG, quality ${amount.toFixed(0)}`;
    case "brightness": return unit === "×" ? `brightness × ${amount.toFixed(2)}` : `${percent(amount)} ${amount > 0 ? "brighter" : "darker"}`;
    case "contrast": return `contrast × ${amount.toFixed(2)}`;
    case "mirrored": return "mirrored";
    case "stretch": return `stretched, width × ${amount.toFixed(2)} of height`;
    case "perspective": return "seen at an angle";
    case "border": return `a border of ${percent(amount)} around`;
    case "extended": return `${percent(amount)} more around`;
    case "overlay": return `text or a logo over ${percent(amount)}`;
    case "pasted": return `pasted, ${percent(amount)} of your image`;
    case "collage": return `in a collage, ${percent(amount)} of your image`;
    case "grey": return "made grey";
    case "colour": return `colours × ${amount.toFixed(2)}`;
    case "hue": return `hues turned by ${amount.toFixed(0)}°`;
    case "cast": return `a cast of ${percent(amount)}`;
  }
}

/** Where the middle of the match went. */
function direction({ alignment, width, height }: Match): string {
  if (!alignment || width == null || height == null) return "";
  const [x, y] = [(width - 1) / 2, (height - 1) / 2];
  const [right, down] = alignment.slice(0, 2).map(([a, b, c], axis) => [x, y][axis]! - (a! * x + b! * y + c!)) as [number, number];
  const words = [
    Math.abs(right) > 0.3 && (right > 0 ? "right" : "left"),
    Math.abs(down) > 0.3 && (down > 0 ? "down" : "up"),
  ].filter(Boolean);
  return words.length ? ` ${words.join(" and ")}` : "";
}
