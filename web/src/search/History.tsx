import type { HistoryRecord } from "../api/calls";
import { count, date, Foreign, size } from "../text";

const WORDS = { put: "Published", replaced: "Took the place of the one before", deleted: "Deleted", rejected: "Rejected" };
const SHOWN = 20;

/** Every record of an image's id, the newest first. */
export function History({ records, isComplete }: { records: HistoryRecord[]; isComplete: boolean }) {
  const shown = records.slice(-SHOWN).reverse();
  const older = records.length - shown.length;
  return (
    <section className="history" aria-label="History">
      <h3>History</h3>
      <ol>
        {shown.map((record) => {
          const { kind, reason, source: { log, partition, offset, timestamp }, width, height, size_bytes: bytes } = record;
          return (
            <li key={`${log}:${partition}:${offset}`} data-kind={kind}>
              <time dateTime={new Date(timestamp).toISOString()}>{date(timestamp)}</time>
              <span>
                <b>{WORDS[kind]}</b>{reason && <>: <Foreign text={reason} /></>}
                {width != null && <>, {width} × {height} pixels</>}{bytes != null && <>, {size(bytes)}</>}
              </span>
            </li>
          );
        })}
      </ol>
      {(older > 0 || !isComplete) && <p className="hint">{older > 0 ? `And ${count(older)} earlier records` : "Some records are left out"}{older > 0 && !isComplete && ", and more"}.</p>}
    </section>
  );
}
