import { useEffect, useState } from "react";

import { search, type Match } from "../api/calls";
import type { Found } from "./useSearch";

/** The answer with its verdicts, once the API has said them; asked for after the answer and while `isWanted`, since they cost more than the search. */
export function useExplained(found: Found | null, isWanted: boolean): { found: Found | null; isAsking: boolean } {
  const [told, setTold] = useState<{ of: Found; matches: readonly Match[] } | null>(null);
  const explained = told && told.of === found ? told.matches : null;
  const isAsking = isWanted && !!found && !explained && found.answer.matches.some(({ verdict }) => !verdict);
  useEffect(() => {
    if (!isAsking || !found) return undefined;
    const gone = new AbortController();
    const { question, k, effort } = found;
    search(question, k, { effort, isExplained: true, signal: gone.signal }).then(
      ({ matches }) => setTold({ of: found, matches }),
      () => gone.signal.aborted || setTold({ of: found, matches: [] }), // without verdicts the answer is as good as before
    );
    return () => gone.abort();
  }, [isAsking, found]);
  if (!found || !explained) return { found, isAsking };
  const matches = found.answer.matches.map((match) => explained.find((other) => isSame(other, match)) ?? match);
  return { found: { ...found, answer: { ...found.answer, matches } }, isAsking };
}

/** Whether both stand for the same record. */
export const isSame = (one: Match, other: Match): boolean =>
  one.id === other.id && one.source.partition === other.source.partition && one.source.offset === other.source.offset;
