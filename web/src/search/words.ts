/** What a verdict says, in words. */
import type { Camera, Edit, Match } from "../api/calls";

const percent = (share: number): string => `${Math.round(Math.abs(share) * 100)} %`;

/** The verdict and how sure it is: `Altered copy, 98 % sure`. */
export function verdictOf({ verdict, confidence }: Match): string {
  if (!verdict) return "";
  const name = verdict[0]!.toUpperCase() + verdict.slice(1);
  if (verdict === "same bytes" || verdict === "same pixels" || confidence == null) return name;
  const sure = Math.round((verdict === "similar" ? 1 - confidence : confidence) * 100);
  return `${name}, ${sure > 99 ? "more than 99" : sure} % sure`;
}

/** What of the query the match was found by, if not by the whole of it. */
export function hypothesisOf({ hypothesis }: Match): string {
  if (!hypothesis || hypothesis === "whole") return "";
  const [kind, number] = hypothesis.split("-");
  return kind === "part" ? "by a part" : kind === "turned" ? `turned ${number}°` : hypothesis;
}

/** What was done to the match to get the query, one thing after the other, each with its amount. */
export function editsOf(match: Match): string[] {
  return (match.edits ?? []).map((edit) => inWords(edit, match));
}

function inWords({ name, amount, unit }: Edit, match: Match): string {
  switch (name) {
    case "shift": return `shifted by ${amount.toFixed(1)} px${direction(match)}`;
    case "rotation": return `turned ${Math.abs(amount).toFixed(1)}° ${amount > 0 ? "counter-clockwise" : "clockwise"}`;
    case "scale": return `scaled to ${percent(amount)}`;
    case "stretch": return amount > 1 ? `stretched × ${amount.toFixed(2)} in width` : `stretched × ${(1 / amount).toFixed(2)} in height`;
    case "perspective": return `seen at an angle, ${percent(amount)}`;
    case "crop": return `cropped by ${percent(amount)}`;
    case "border": return `border of ${percent(amount)}`;
    case "extended": return `${percent(amount)} more around it`;
    case "overlay": return `text or logo over ${percent(amount)}`;
    case "pasted": return `pasted into another picture, ${percent(amount)} of it`;
    case "collage": return `in a collage, ${percent(amount)} of it`;
    case "inversion": return "negative";
    case "grey": return "made grey";
    case "colour": return `colours × ${amount.toFixed(2)}`;
    case "hue": return `colours turned by ${amount.toFixed(0)}°`;
    case "cast": return `colour cast of ${percent(amount)}`;
    case "blur": return `blurred by ${amount.toFixed(1)} px`;
    case "noise": return `noise of ${percent(amount)}`;
    case "jpeg": return `saved as JPEG, quality ${amount.toFixed(0)}`;
    case "brightness": return brightness(unit === "×" ? amount - 1 : amount);
    case "contrast": return `contrast × ${amount.toFixed(2)}`;
    case "mirrored": return name;
  }
}

const brightness = (by: number): string => `${percent(by)} ${by > 0 ? "brighter" : "darker"}`;

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

/** What a camera wrote into a picture's file, in a photographer's words: pairs of name and value. */
export function cameraOf(camera: Camera): [string, string][] {
  const { make, model, lens, software, taken_at: taken, exposure_s: exposure, f_number: f, iso, focal_length_mm: focal, focal_length_35mm: as35, place } = camera;
  const settings = [
    exposure != null && (exposure < 0.3 ? `1/${Math.round(1 / exposure)} s` : `${trimmed(exposure)} s`),
    f != null && `f/${trimmed(f)}`,
    iso != null && `ISO ${iso}`,
    focal != null && `${trimmed(focal)} mm${as35 != null ? ` (${trimmed(as35)} mm on film)` : ""}`,
  ].filter(Boolean);
  // Many a model's name begins with its maker's.
  const body = model.toLowerCase().startsWith(make.toLowerCase()) ? model : [make, model].filter(Boolean).join(" ");
  const facts: [string, string][] = [
    ["Taken", taken.replace("T", " ")], ["Camera", body || make], ["Lens", lens], ["Settings", settings.join(", ")], ["Software", software],
    ["Place", place ? `${place.latitude}, ${place.longitude}` : ""],
  ];
  return facts.filter(([, value]) => value);
}

const trimmed = (value: number): string => String(Number(value.toFixed(1)));
