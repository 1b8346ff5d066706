import { useEffect, useState } from "react";

import type { Question } from "../api/calls";
import { DropZone, useDrops } from "../DropZone";
import { Picture } from "../Picture";
import { usePicture } from "../search/picture";
import { count, Foreign, ms, size } from "../text";
import { useLives, type Life } from "./lives";

type Ask = (question: Question) => void;

/** Stays while other views are shown, so that images go on their way. */
export function AddView({ hidden, ask }: { hidden: boolean; ask: Ask }) {
  const { lives, total, settled, add } = useLives();
  const isOver = useDrops(add, !hidden);
  return (
    <div className="add" hidden={hidden}>
      <h1>Add images</h1>
      <DropZone isMany take={add} isOver={isOver}>
        <b>Choose images</b>
        <span>or drop many here: PNG, JPEG, WebP, AVIF, HEIC, GIF, BMP or TIFF, at most 32 MiB each</span>
      </DropZone>
      {total > 0 && (
        <p className="progress" role="status">
          <progress value={settled} max={total} aria-label="Images that came through" /> {count(settled)} of {count(total)}
        </p>
      )}
      <ul className="lives">
        {lives.map((life) => <LifeLine key={life.key} life={life} ask={ask} />)}
      </ul>
    </div>
  );
}

function LifeLine({ life, ask }: { life: Life; ask: Ask }) {
  const { file, written, timeline, confirmedMs, answer, problem } = life;
  const [question, setQuestion] = useState<Question | null>(null);
  useEffect(() => setQuestion({ kind: "image", image: file, name: file.name }), [file]);
  const { picture } = usePicture(question);
  const since = (at: number | null | undefined) =>
    at != null && timeline?.confirmed_at != null ? `+${ms(Math.max(0, at - timeline.confirmed_at))}` : "";
  const isIn = timeline?.state === "searchable" || timeline?.state === "superseded";
  const own = answer?.matches.findIndex(({ id }) => id === written?.id) ?? -1;
  return (
    <li className="life card">
      <span className="preview">{picture && <Picture src={picture} />}</span>
      <div>
        <p className="file"><Foreign text={file.name} max={120} /> <small>{size(file.size)}</small></p>
        <ol className="steps">
          <Step name="Confirmed" isDone={!!written} isFailed={!!problem && !written} told={confirmedMs === undefined ? "" : ms(confirmedMs)} />
          <Step name="Embedded" isDone={isIn || timeline?.state === "embedded"} isFailed={!!problem && !!written} told={since(timeline?.embedded_at)} />
          <Step name="Searchable" isDone={isIn} told={since(timeline?.searchable_at)} />
        </ol>
        {problem && <p className="problem" role="alert"><Foreign text={problem} /></p>}
        {answer && (
          <p className="own">
            {own >= 0
              ? <>Finds itself: number {own + 1} of {count(answer.coverage.count)}, at distance {answer.matches[own]!.distance.toFixed(3)}.</>
              : "Images equal to it fill its first places."}{" "}
            <button className="link" onClick={() => written && ask({ kind: "id", id: written.id })}>See its neighbours</button>
          </p>
        )}
      </div>
      {answer && <div className="near" aria-hidden="true">{answer.matches.map(({ id, thumbnail_url }) => <Picture key={id} src={thumbnail_url} />)}</div>}
    </li>
  );
}

function Step({ name, isDone, isFailed = false, told }: { name: string; isDone: boolean; isFailed?: boolean; told: string }) {
  return (
    <li data-state={isFailed ? "failed" : isDone ? "done" : "open"}>
      {name} <small>{isFailed ? "no" : told}</small><span className="unseen">{isDone ? "done" : isFailed ? "failed" : "waiting"}</span>
    </li>
  );
}
