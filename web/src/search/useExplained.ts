import { useEffect, useState } from "react";

import { search, type Match, type Question } from "../api/calls";

/** The match with its verdict, once the API has said it; asked for when a match is opened, since it costs more than the search. */
export function useExplained(match: Match, question: Question | null, k: number): { match: Match; isAsking: boolean } {
  const [told, setTold] = useState<Match | null>(null);
  const [isAsking, setAsking] = useState(question !== null && !match.verdict);
  useEffect(() => {
    if (!question || match.verdict) return undefined;
    const gone = new AbortController();
    search(question, k, { isExplained: true, signal: gone.signal }).then(
      ({ matches }) => setTold(matches.find(({ id, source }) => id === match.id && source.offset === match.source.offset) ?? null),
      () => undefined, // without a verdict the details are as good as before
    ).finally(() => gone.signal.aborted || setAsking(false));
    return () => gone.abort();
  }, [match, question, k]);
  return { match: told ?? match, isAsking };
}
