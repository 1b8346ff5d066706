/** The watches and what matched each, kept up to date by the event stream. */
import { useEffect, useState } from "react";

import { deleteWatch, matchesOf, watches as allWatches, watchEventsUrl, type Matched, type Refusal, type Watch } from "../api/calls";
import { asRefusal } from "../search/useSearch";

/** Of so many watches, the newest, what matched is shown. */
const SHOWN_MAX = 50;
const MATCHES_SHOWN = 24;
const RETRY_MS = 2000;

export type Watches = {
  watches: readonly Watch[] | null; matches: ReadonlyMap<string, readonly Matched[]>; problem: Refusal | null; remove: (id: string) => void;
};

export function useWatches(): Watches {
  const [watches, setWatches] = useState<readonly Watch[] | null>(null);
  const [matches, setMatches] = useState<ReadonlyMap<string, readonly Matched[]>>(new Map());
  const [problem, setProblem] = useState<Refusal | null>(null);
  useEffect(() => {
    let stream: EventSource | null = null;
    let retry = 0;
    let isCurrent = true;
    const read = async () => {
      try {
        const found = [...await allWatches()].reverse();
        let next: number | null = null;
        for (const { id } of found.slice(0, SHOWN_MAX)) {
          const answer = await matchesOf(id, MATCHES_SHOWN);
          if (!isCurrent) return;
          next = Math.min(next ?? answer.next, answer.next);
          setMatches((before) => answer.matches.reduceRight(grown, before));
        }
        if (!isCurrent) return;
        setWatches(found);
        setProblem(null);
        if (found.length) follow(next);
      } catch (error) {
        if (!isCurrent) return;
        setProblem(asRefusal(error));
        retry = window.setTimeout(() => void read(), RETRY_MS);
      }
    };
    const follow = (next: number | null) => {
      stream = new EventSource(`${watchEventsUrl}${next === null ? "" : `?after=${next}`}`);
      stream.addEventListener("match", (event: MessageEvent<string>) => {
        const match = JSON.parse(event.data) as Matched;
        setMatches((before) => grown(before, match));
      });
      stream.onerror = () => {
        if (stream?.readyState === EventSource.CLOSED) retry = window.setTimeout(() => void read(), RETRY_MS);
      };
    };
    void read();
    return () => {
      isCurrent = false;
      stream?.close();
      clearTimeout(retry);
    };
  }, []);
  const remove = (id: string) => {
    deleteWatch(id).then(
      () => setWatches((before) => before?.filter((watch) => watch.id !== id) ?? null),
      (error: unknown) => setProblem(asRefusal(error)),
    );
  };
  return { watches, matches, problem, remove };
}

/** A match in front of the others of its watch; one that is told again changes nothing. */
export function grown(before: ReadonlyMap<string, readonly Matched[]>, match: Matched): ReadonlyMap<string, readonly Matched[]> {
  const known = before.get(match.watch) ?? [];
  if (known.some(({ id }) => id === match.id)) return before;
  return new Map(before).set(match.watch, [match, ...known].slice(0, MATCHES_SHOWN));
}
