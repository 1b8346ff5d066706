import { useEffect, useRef, useState } from "react";

import { Refusal, search, type Effort, type Question, type SearchAnswer, type Sort } from "../api/calls";

export type Found = { question: Question; k: number; effort: Effort; answer: SearchAnswer; tookMs: number };
export type Search = { found: Found | null; problem: Refusal | null; isSearching: boolean; again: () => void };

/** The answer to `question`. One request is in flight; the newest question waits for it, those between are never asked. */
export function useSearch(question: Question | null, k: number, sort: Sort, effort: Effort): Search {
  const [state, setState] = useState<Omit<Search, "again">>({ found: null, problem: null, isSearching: false });
  const [turn, setTurn] = useState(0);
  const newest = useRef<{ question: Question; k: number; sort: Sort; effort: Effort } | null>(null);
  const isAsking = useRef(false);

  useEffect(() => {
    newest.current = question && { question, k, sort, effort };
    if (!question) setState({ found: null, problem: null, isSearching: false });
    else if (!isAsking.current) void askAll();

    async function askAll() {
      isAsking.current = true;
      while (newest.current) {
        const asked = newest.current;
        const start = performance.now();
        setState((before) => ({ ...before, isSearching: true }));
        try {
          const answer = await search(asked.question, asked.k, asked);
          if (newest.current) {
            setState({ found: { question: asked.question, k: asked.k, effort: asked.effort, answer, tookMs: performance.now() - start }, problem: null, isSearching: false });
          }
        } catch (error) {
          if (newest.current === asked) setState({ found: null, problem: asRefusal(error), isSearching: false });
        }
        if (newest.current === asked) newest.current = null;
      }
      isAsking.current = false;
    }
  }, [question, k, sort, effort, turn]);

  return { ...state, again: () => setTurn((turn) => turn + 1) };
}

export function asRefusal(error: unknown): Refusal {
  return error instanceof Refusal ? error : new Refusal(0, "failed", error instanceof Error ? error.message : String(error));
}
