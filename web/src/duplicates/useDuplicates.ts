import { useCallback, useEffect, useRef, useState } from "react";

import { duplicates, type DuplicateClass, type DuplicateGroup, type Duplicates, type Refusal } from "../api/calls";
import { asRefusal } from "../search/useSearch";

const PAGE = 20;
const PAGE_MAX = 100;
const POLL_MS = 1000;

export type Found = {
  answer: Duplicates | null; groups: DuplicateGroup[]; problem: Refusal | null; isLoading: boolean;
  more: () => void; again: (options?: { refresh?: boolean; minOffsets?: string }) => Promise<void>;
};

/** Groups of one class, or of all, page by page; while a run is going on it is asked how far it has come. */
export function useDuplicates(kind: DuplicateClass | undefined): Found {
  const [state, setState] = useState<Omit<Found, "more" | "again">>({ answer: null, groups: [], problem: null, isLoading: true });
  const turn = useRef(0);
  const shown = useRef(0);
  shown.current = state.groups.length;

  const load = useCallback(async (asked: Parameters<typeof duplicates>[0], join: (before: DuplicateGroup[], page: DuplicateGroup[]) => DuplicateGroup[]) => {
    const mine = ++turn.current;
    setState((before) => ({ ...before, isLoading: true }));
    try {
      const answer = await duplicates({ class: kind, ...asked });
      if (mine === turn.current) setState(({ groups }) => ({ answer, groups: join(groups, answer.groups), problem: null, isLoading: false }));
    } catch (error) {
      if (mine === turn.current) setState((before) => ({ ...before, problem: asRefusal(error), isLoading: false }));
    }
  }, [kind]);
  const again = useCallback(
    (options = {}) => load({ limit: Math.min(PAGE_MAX, Math.max(PAGE, shown.current)), ...options }, (_, page) => page), [load],
  );
  useEffect(() => {
    setState({ answer: null, groups: [], problem: null, isLoading: true });
    void load({ limit: PAGE }, (_, page) => page);
    return () => { turn.current++; };
  }, [load]);

  const isComputing = state.answer?.state === "computing";
  useEffect(() => {
    if (!isComputing || state.isLoading) return;
    const timer = setTimeout(() => void again(), POLL_MS);
    return () => clearTimeout(timer);
  }, [isComputing, state, again]);

  const next = state.answer?.next;
  return { ...state, again, more: () => { if (next) void load({ limit: PAGE, cursor: next }, (before, page) => [...before, ...page]); } };
}
