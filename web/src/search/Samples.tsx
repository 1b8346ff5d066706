import { useState } from "react";

import type { IndexAnswer, Question } from "../api/calls";
import { Picture } from "../Picture";

const SAMPLES = Object.entries(import.meta.glob<string>("../samples/*.png", { eager: true, import: "default", query: "?url" }))
  .map(([path, address]) => ({ name: `sample ${path.at(-5)}`, address }));
const NEWEST_SHOWN = 10;

/** Digits to begin with. */
export function Samples({ ask }: { ask: (image: Blob, name: string) => void }) {
  const askSample = async ({ name, address }: (typeof SAMPLES)[number]) => {
    const image = await fetch(address).then((answer) => answer.blob()).catch(() => null);
    if (image) ask(image, name); // else the service is away, and the head of the page says so
  };
  return (
    <div className="samples" role="group" aria-label="Samples">
      {SAMPLES.map((sample) => (
        <button key={sample.name} onClick={() => void askSample(sample)} aria-label={`Search with ${sample.name}`}>
          <Picture src={sample.address} />
        </button>
      ))}
    </div>
  );
}

/** The images that had come last when the page was opened: they stand still, so that one can be hit. */
export function Newest({ newest, ask }: { newest: IndexAnswer["newest"]; ask: (question: Question) => void }) {
  const [shown] = useState(() => newest.slice(0, NEWEST_SHOWN));
  if (!shown.length) return null;
  return (
    <div className="samples" role="group" aria-label="Newest images">
      {shown.map(({ id, thumbnail_url }) => (
        <button key={id} onClick={() => ask({ kind: "id", id })} aria-label={`Search with ${id.slice(0, 80)}`}>
          <Picture src={thumbnail_url} />
        </button>
      ))}
    </div>
  );
}
