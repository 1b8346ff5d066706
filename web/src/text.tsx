/** Numbers, times and foreign texts, as people read them. */

const whole = new Intl.NumberFormat("en");
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;
const TEXT_MAX = 300;

export const count = (value: number): string => whole.format(Math.round(value));

export function rate(value: number): string {
  return value < 10 ? value.toFixed(1).replace(/\.0$/, "") : count(value);
}

export function ms(value: number): string {
  if (value >= 10_000) return `${(value / 1000).toFixed(0)} s`;
  if (value >= 1000) return `${(value / 1000).toFixed(1)} s`;
  return `${value < 10 ? value.toFixed(1).replace(/\.0$/, "") : value.toFixed(0)} ms`;
}

export function size(bytes: number): string {
  if (bytes < 1000) return `${bytes} bytes`;
  return bytes < 1e6 ? `${(bytes / 1000).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

export const time = (at: number): string => new Date(at).toLocaleTimeString("en-GB");
export const date = (at: number): string => new Date(at).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" });

/** Text that others wrote: isolated from the page's direction, without what could turn or hide it, of bounded length. */
export function Foreign({ text, max = TEXT_MAX }: { text: string; max?: number }) {
  const shown = text.length > max ? `${text.slice(0, max)}…` : text;
  return <bdi>{shown.replace(UNSEEN, "\uFFFD")}</bdi>;
}

/** What people know a picture by, most telling first. */
const NAMES = ["title", "caption", "name"];

/** An image's caption: its label, or its name, which is at least the last part of its id. */
export function caption(id: string, metadata: Record<string, unknown> | null | undefined): string {
  if (metadata && "label" in metadata) return `label ${plain(metadata["label"])}`;
  const name = NAMES.map((key) => metadata?.[key]).find((value) => typeof value === "string" && value.trim());
  return name ? String(name) : id.split("/").findLast((part) => part) ?? id;
}

export const plain = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value) ?? "");
