/** Follows the index through its event stream, at most once a frame, with a bounded memory. */
import { useEffect, useState } from "react";

import { eventsUrl, type IndexAnswer } from "../api/calls";
import { take } from "../api/seen";

export type Sample = {
  at: number; count: number; inPerS: number | null; outPerS: number; lag: number | null; p50: number | null; p99: number | null;
};
export type Happening = { key: string; at: number; kind: "swap" | "rebuild" | "restart"; text: string };
/** `isBehind`: for a while nothing came that covers as much as was seen, and `index` is the last that did. */
export type Feed = {
  index: IndexAnswer | null; isConnected: boolean; isBehind: boolean; samples: readonly Sample[]; happenings: readonly Happening[];
};

const RETRY_MS = 1000;
/** So long a machine may catch up before another one is asked for. */
const BEHIND_MS = 2000;
const SAMPLE_INTERVAL_MS = 500;
/** Ten minutes. */
export const SAMPLES_MAX = 1200;
export const HAPPENINGS_MAX = 60;

export function useIndex(): Feed {
  const [feed, setFeed] = useState<Feed>({ index: null, isConnected: false, isBehind: false, samples: [], happenings: [] });
  useEffect(() => {
    let stream: EventSource;
    let frame = 0;
    let retry = 0;
    let behind = 0;
    let newest: IndexAnswer | null = null;
    const draw = () => {
      frame = 0;
      if (newest) setFeed((feed) => grown(feed, newest!, Date.now()));
    };
    const schedule = () => { frame ||= requestAnimationFrame(draw); };
    const connect = () => {
      stream = new EventSource(eventsUrl);
      stream.addEventListener("index", (event: MessageEvent<string>) => {
        const index = JSON.parse(event.data) as IndexAnswer;
        if (take(index.coverage) !== "as much") {
          behind ||= window.setTimeout(leave, BEHIND_MS);
          return;
        }
        arrived();
        newest = index;
        schedule();
      });
      stream.onerror = () => {
        newest = null;
        arrived();
        setFeed((feed) => ({ ...feed, isConnected: false }));
        // A browser gives up by itself where the answer was an error instead of a stream.
        if (stream.readyState === EventSource.CLOSED) retry = window.setTimeout(connect, RETRY_MS);
      };
    };
    const arrived = () => {
      clearTimeout(behind);
      behind = 0;
    };
    // The next stream may be another machine's.
    const leave = () => {
      behind = 0;
      newest = null;
      setFeed((feed) => ({ ...feed, isConnected: true, isBehind: true }));
      stream.close();
      connect();
    };
    connect();
    // Charts move on also while nothing changes.
    const clock = setInterval(schedule, SAMPLE_INTERVAL_MS);
    return () => {
      stream.close();
      clearInterval(clock);
      clearTimeout(retry);
      clearTimeout(behind);
      cancelAnimationFrame(frame);
    };
  }, []);
  return feed;
}

export function grown(feed: Feed, index: IndexAnswer, at: number): Feed {
  const last = feed.samples.at(-1);
  const isDue = !last || at - last.at >= SAMPLE_INTERVAL_MS;
  const before = feed.index;
  const news = before ? happened(before, index, at) : [];
  return {
    index,
    isConnected: true,
    isBehind: false,
    samples: isDue ? [...feed.samples.slice(1 - SAMPLES_MAX), sampled(index, at)] : feed.samples,
    happenings: news.length ? [...news, ...feed.happenings].slice(0, HAPPENINGS_MAX) : feed.happenings,
  };
}

function sampled({ count, rates, lag, freshness_ms: fresh }: IndexAnswer, at: number): Sample {
  return { at, count, inPerS: rates.in_per_s, outPerS: rates.out_per_s, lag, p50: fresh?.p50 ?? null, p99: fresh?.p99 ?? null };
}

function happened(before: IndexAnswer, now: IndexAnswer, at: number): Happening[] {
  const key = `${now.index_id}/${now.generation}`;
  if (before.index_id !== now.index_id) return [{ key, at, kind: "restart", text: tookOver(before, now) }];
  if (before.generation === now.generation) return [];
  const swap: Happening = { key, at, kind: "swap", text: `${records(now, before)}, ${changed(now.count - before.count)}` };
  if (before.base.name === now.base.name) return [swap];
  const text = `New base of ${now.base.count.toLocaleString("en")} images, tail down to ${now.tail.entries.toLocaleString("en")}`;
  return [{ key: `${key}/base`, at, kind: "rebuild", text }];
}

function tookOver(...answers: [before: IndexAnswer, now: IndexAnswer]): string {
  const [before, now] = answers.map(({ indexes }) => indexes.find((index) => index.is_serving)?.name);
  return before === now ? "A new index took over" : `${now} answers instead of ${before}`;
}

function records(now: IndexAnswer, before: IndexAnswer): string {
  const [end, start] = [now, before].map(({ coverage }) => Object.values(coverage.offsets).reduce((sum, offset) => sum + offset, 0));
  const count = end! - start!;
  return `${count.toLocaleString("en")} record${count === 1 ? "" : "s"}`;
}

function changed(by: number): string {
  return `${by < 0 ? "−" : "+"}${Math.abs(by).toLocaleString("en")} image${Math.abs(by) === 1 ? "" : "s"}`;
}
