/** What the page shows is in its address where it can be, so that back, forward, reload and links work. */
import { useCallback, useEffect, useState } from "react";

import { BASE, COLLECTION, DEFAULT_COLLECTION, type Effort, type Question } from "./api/calls";

const EFFORTS = ["normal", "high", "thorough"] as const;
const VIEWS = ["search", "duplicates", "watches", "live", "add"] as const;
export type View = (typeof VIEWS)[number];
export type Place = { view: View; question: Question | null; k: number; effort: Effort };

const K = 15;
const PICTURES_MAX = 20;
/** Pictures that a person chose, and addresses of others, by the number that the browser's history keeps for them. */
const pictures = new Map<number, Question>();
let pictureNumber = 0;

/** The place that the address names, and a function that goes to another one. */
export function usePlace(): [Place, (to: Partial<Place>, replace?: boolean) => void] {
  const [place, setPlace] = useState(readPlace);
  useEffect(() => {
    const read = () => setPlace(readPlace());
    addEventListener("popstate", read);
    return () => removeEventListener("popstate", read);
  }, []);
  const go = useCallback((to: Partial<Place>, replace = false) => {
    const next = { ...readPlace(), ...to };
    history[replace ? "replaceState" : "pushState"](stateOf(next), "", addressOf(next));
    setPlace(next);
  }, []);
  return [place, go];
}

export function addressOf({ view, question, k, effort }: Place, collection = COLLECTION): string {
  const query = new URLSearchParams();
  if (collection !== DEFAULT_COLLECTION) query.set("collection", collection);
  if (view !== "search") query.set("view", view);
  if (question?.kind === "id" && view === "search") query.set("id", question.id);
  if (k !== K) query.set("k", String(k));
  if (effort !== "normal") query.set("effort", effort);
  return `${BASE}${query.size ? `?${query}` : ""}`;
}

function readPlace(): Place {
  const query = new URLSearchParams(location.search);
  const id = query.get("id");
  const k = Number(query.get("k") ?? K);
  return {
    view: VIEWS.find((view) => view === query.get("view")) ?? "search",
    question: id ? { kind: "id", id } : pictures.get((history.state as { picture?: number } | null)?.picture ?? 0) ?? null,
    k: Number.isInteger(k) && k >= 1 && k <= 100 ? k : K,
    effort: EFFORTS.find((effort) => effort === query.get("effort")) ?? "normal",
  };
}

function stateOf({ question }: Place): { picture?: number } {
  if (!question || question.kind === "id") return {};
  for (const [number, kept] of pictures) if (kept === question) return { picture: number };
  pictures.set(++pictureNumber, question);
  pictures.delete(pictureNumber - PICTURES_MAX);
  return { picture: pictureNumber };
}
