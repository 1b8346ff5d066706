/** The way of each dropped image: sent, confirmed by Kafka, embedded, searchable, found by its own search. */
import { useCallback, useEffect, useRef, useState } from "react";

import { publish, Refusal, search, timeline, type SearchAnswer, type Timeline, type Written } from "../api/calls";
import { asRefusal } from "../search/useSearch";

export type Life = {
  key: number; file: File; written?: Written; timeline?: Timeline; confirmedMs?: number; answer?: SearchAnswer; problem?: string;
};
export type Lives = { lives: readonly Life[]; total: number; settled: number; add: (files: File[]) => void };

const AT_ONCE = 4;
const SHOWN_MAX = 200;
const POLL_MS = 120;
const PATIENCE_MS = 60_000;
const NEIGHBOURS = 5;

export function useLives(): Lives {
  const [lives, setLives] = useState<readonly Life[]>([]);
  const [totals, setTotals] = useState({ total: 0, settled: 0 });
  const waiting = useRef<Life[]>([]);
  const working = useRef(0);
  const keys = useRef(0);

  const add = useCallback((files: File[]) => {
    const born = files.map((file): Life => ({ key: ++keys.current, file }));
    waiting.current.push(...born);
    setTotals(({ total, settled }) => ({ total: total + born.length, settled }));
    setLives((lives) => [...born.slice(-SHOWN_MAX).reverse(), ...lives].slice(0, SHOWN_MAX));
    while (working.current < AT_ONCE && waiting.current.length) void work();

    async function work() {
      working.current++;
      for (let life = waiting.current.shift(); life; life = waiting.current.shift()) {
        const { key } = life;
        const grow = (more: Partial<Life>) =>
          setLives((lives) => lives.map((other) => (other.key === key ? { ...other, ...more } : other)));
        await live(life.file, grow).catch((error: unknown) => {
          const { code, message } = asRefusal(error);
          grow({ problem: `${code}: ${message}` });
        });
        setTotals(({ total, settled }) => ({ total, settled: settled + 1 }));
      }
      working.current--;
    }
  }, []);
  const isAdding = totals.settled < totals.total;
  useEffect(() => {
    if (!isAdding) return undefined;
    // What was not sent yet would be lost without a word.
    const ask = (event: BeforeUnloadEvent) => event.preventDefault();
    addEventListener("beforeunload", ask);
    return () => removeEventListener("beforeunload", ask);
  }, [isAdding]);
  return { lives, ...totals, add };
}

async function live(file: File, grow: (more: Partial<Life>) => void): Promise<void> {
  const start = performance.now();
  const written = await publish(file);
  grow({ written, confirmedMs: performance.now() - start });
  const found = await followed(written, (timeline) => grow({ timeline }));
  if (found.state === "rejected") throw new Refusal(422, found.reason, "The embedder refused this image; its record stands among the rejected ones.");
  if (found.state !== "searchable") return;
  const minOffsets = written.min_offsets;
  grow({ answer: await search({ kind: "image", image: file, name: file.name, minOffsets }, NEIGHBOURS) });
}

async function followed(written: Written, seen: (timeline: Timeline) => void): Promise<Timeline> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const found = await timeline(written).catch((error: unknown) => {
      const refusal = asRefusal(error);
      // Away for a moment: the image is on its way all the same.
      if (refusal.status !== 0 && refusal.status !== 503) throw refusal;
      return null;
    });
    if (found) seen(found);
    if (found && found.state !== "confirmed" && found.state !== "embedded") return found;
    if (performance.now() > deadline) throw new Refusal(0, "late", "Kafka has it, but it is not searchable after a minute. See Live.");
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
