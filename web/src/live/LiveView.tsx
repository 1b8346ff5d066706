import { useEffect, useMemo, useRef, useState } from "react";

import { rejected, type IndexAnswer, type Question, type Rejected } from "../api/calls";
import { Picture } from "../Picture";
import { loaded } from "../search/picture";
import { count, Foreign, ms, rate, size, time } from "../text";
import { Chart } from "./Chart";
import type { Feed, Happening } from "./useIndex";

const REJECTED_SHOWN = 12;
const HAPPENINGS_SHOWN = 7;
const STRIP_STEP_MS = 500;

export function LiveView({ feed, ask }: { feed: Feed; ask: (question: Question) => void }) {
  const { index, samples, happenings } = feed;
  const times = useMemo(() => samples.map(({ at }) => at), [samples]);
  const lines = useMemo(() => ({
    count: [{ name: "images", values: samples.map((s) => s.count), tone: "accent", isFilled: true }],
    rates: [
      { name: "in", values: samples.map((s) => s.inPerS), tone: "quiet" },
      { name: "out", values: samples.map((s) => s.outPerS), tone: "accent" },
    ],
    lag: [{ name: "records", values: samples.map((s) => s.lag), tone: "accent", isFilled: true }],
    fresh: [
      { name: "p99", values: samples.map((s) => s.p99), tone: "quiet" },
      { name: "p50", values: samples.map((s) => s.p50), tone: "accent" },
    ],
  }) as const, [samples]);
  const rebuilds = useMemo(() => happenings.filter(({ kind }) => kind === "rebuild").map(({ at }) => at), [happenings]);
  if (!index) return <><h1>Live</h1><p className="hint">Waiting for the index …</p></>;
  return (
    <>
      <h1>Live</h1>
      {index.stalled && (
        <p className="problem" role="alert">
          The index stands still since {time(index.stalled.since)} although images wait: the {index.stalled.part} does not go on.
          Searches are answered from what is covered.
        </p>
      )}
      <div className="charts">
        <Chart title="Images" times={times} lines={lines.count} marks={rebuilds} format={count} />
        <Chart title="Images per second" times={times} lines={lines.rates} marks={rebuilds} format={rate} />
        <Chart title="Lag" times={times} lines={lines.lag} format={count} />
        <Chart title="Freshness" times={times} lines={lines.fresh} format={ms} />
      </div>
      <div className="pair">
        <Make index={index} />
        <Happenings happenings={happenings} />
      </div>
      {index.indexes.length > 1 && <Encoders indexes={index.indexes} />}
      <Newest index={index} ask={ask} />
      <Refused totals={index.rejected} isConnected={feed.isConnected} />
    </>
  );
}

function Make({ index: { base, tail, count: images, generation, refused, expired, coverage, engine } }: { index: IndexAnswer }) {
  const total = Math.max(1, base.count + tail.entries);
  const isExact = engine === "exact";
  return (
    <section className="card">
      <h2>{isExact ? "Base and tail" : "Table of embeddings"}</h2>
      {isExact && (
        <div className="make" aria-hidden="true">
          <i className="base" style={{ flexGrow: base.count / total }} /><i className="tail" style={{ flexGrow: tail.entries / total }} />
        </div>
      )}
      <dl>
        {isExact ? (
          <>
            <dt>Base</dt><dd>{count(base.count)} images</dd>
            <dt>Tail</dt><dd>{count(tail.entries)} entries, {size(tail.size_bytes)}</dd>
          </>
        ) : <><dt>Table</dt><dd>{count(images)} images, searched by Cassandra</dd></>}
        <dt>Generation</dt><dd>{count(generation)}</dd>
        <dt>Covers</dt><dd>{Object.entries(coverage.offsets).map(([p, offset]) => `${p}:${offset}`).join("  ")}</dd>
        {expired > 0 && <><dt>Expired unread</dt><dd>{count(expired)}</dd></>}
      </dl>
      {refused && <p className="problem">Serving the last good generation: <Foreign text={refused} /></p>}
    </section>
  );
}

/** While the encoder is being changed: how far each one's index has come, and which of them answers. */
function Encoders({ indexes }: { indexes: IndexAnswer["indexes"] }) {
  const records = indexes.map(({ offsets }) => Object.values(offsets).reduce((sum, offset) => sum + offset, 0));
  return (
    <section className="card">
      <h2>Encoders</h2>
      <ul className="encoders">
        {indexes.map(({ name, count: images, lag, is_serving, offsets }, at) => {
          // Where Kafka's ends are unknown, the index that has come farthest stands for them.
          const end = lag === null ? Math.max(...records) : records[at]! + lag;
          return (
            <li key={name} title={Object.entries(offsets).map(([p, offset]) => `${p}:${offset}`).join("  ")}>
              <b>{name}</b> <small>{is_serving ? "answers" : "grows beside it"}</small>
              <span className="bar" aria-hidden="true"><i style={{ width: `${(100 * records[at]!) / Math.max(1, end)}%` }} /></span>
              <span>{count(images)} images{lag ? `, ${count(lag)} records to come` : ""}</span>
            </li>
          );
        })}
      </ul>
    </section>
  );
}

function Happenings({ happenings }: { happenings: readonly Happening[] }) {
  return (
    <section className="card">
      <h2>Swaps and rebuilds</h2>
      {!happenings.length && <p className="hint">Nothing has changed since you came. Add an image, and watch.</p>}
      <ol className="happenings">
        {happenings.slice(0, HAPPENINGS_SHOWN).map(({ key, at, kind, text }) => (
          <li key={key} data-kind={kind}><time>{time(at)}</time> {text}</li>
        ))}
      </ol>
    </section>
  );
}

function Newest({ index, ask }: { index: IndexAnswer; ask: (question: Question) => void }) {
  const newest = useLoaded(index.newest);
  return (
    <section className="card">
      <h2>Newest arrivals</h2>
      {!index.newest.length && <p className="hint">No image has come yet.</p>}
      <ul className="strip">
        {newest.map(({ id, thumbnail_url, source }) => (
          <li key={`${source.partition}:${source.offset}`}>
            <button onClick={() => ask({ kind: "id", id })} aria-label={`Search with ${id.slice(0, 80)}`}>
              <Picture src={thumbnail_url} />
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}

/** The newest arrivals whose pictures are loaded: in a rush the strip goes on in steps, and never shows empty places. */
function useLoaded(newest: IndexAnswer["newest"]): IndexAnswer["newest"] {
  const [shown, setShown] = useState<IndexAnswer["newest"]>([]);
  const latest = useRef(newest);
  latest.current = newest;
  useEffect(() => {
    let isCurrent = true;
    const follow = async () => {
      while (isCurrent) {
        const next = latest.current;
        await Promise.allSettled(next.map(({ thumbnail_url }) => loaded(thumbnail_url)));
        if (isCurrent) setShown(next);
        await new Promise((resolve) => setTimeout(resolve, STRIP_STEP_MS));
      }
    };
    void follow();
    return () => { isCurrent = false; };
  }, []);
  return shown;
}

function Refused({ totals, isConnected }: { totals: Record<string, number>; isConnected: boolean }) {
  const [answer, setAnswer] = useState<Rejected | null>(null);
  const seen = JSON.stringify(totals);
  useEffect(() => {
    let isCurrent = true;
    rejected(REJECTED_SHOWN).then((found) => isCurrent && setAnswer(found), () => undefined);
    return () => { isCurrent = false; };
  }, [seen, isConnected]);
  const reasons = Object.entries(totals).sort(([, a], [, b]) => b - a);
  return (
    <section className="card">
      <h2>Rejected</h2>
      <p className="hint">
        {reasons.length ? reasons.map(([reason, n]) => `${count(n)} ${reason}`).join(" · ") : "Nothing has been rejected."}
        {answer?.degraded.length ? " · Kafka is away, newer ones may be missing" : ""}
      </p>
      <ul className="refused">
        {answer?.rejected.map(({ key, reason, detail, source }) => (
          <li key={`${source.log}:${source.partition}:${source.offset}`}>
            <b>{reason}</b> <span><Foreign text={key ?? "without a key"} max={80} /></span>
            <small><Foreign text={detail} /> <time>{time(source.timestamp)}</time> · {source.partition}:{source.offset}</small>
          </li>
        ))}
      </ul>
    </section>
  );
}
