import { useEffect, useRef, useState } from "react";

import type { Question } from "../api/calls";
import { DropZone } from "../DropZone";
import { Pad } from "./Pad";

const SAMPLES = Object.entries(import.meta.glob<string>("../samples/*.png", { eager: true, import: "default", query: "?url" }))
  .map(([path, address]) => ({ name: `sample ${path.at(-5)}`, address }));

type Props = { ask: (question: Question, replace?: boolean) => void; picture: string | null; question: Question | null };

/** The ways to ask: choose, drop, paste, draw, or take a sample. */
export function Ask({ ask, picture, question }: Props) {
  const [way, setWay] = useState<"draw" | "choose">("draw");
  const askFile = (file: File) => {
    setWay("choose");
    ask({ kind: "image", image: file, name: file.name });
  };
  const newest = useRef(askFile);
  newest.current = askFile;
  useEffect(() => {
    const paste = (event: ClipboardEvent) => {
      const file = event.clipboardData?.files[0];
      if (file) newest.current(new File([file], "pasted image", { type: file.type }));
    };
    addEventListener("paste", paste);
    return () => removeEventListener("paste", paste);
  }, []);
  const isDrawn = question?.kind === "image" && question.name === DRAWN;
  const askSample = async ({ name, address }: (typeof SAMPLES)[number]) => {
    setWay("choose");
    const image = await fetch(address).then((answer) => answer.blob()).catch(() => null);
    if (image) ask({ kind: "image", image, name }); // else the service is away, and the head of the page says so
  };
  return (
    <section className="ask card" aria-label="Your image">
      <div className="ways" role="group" aria-label="How to ask">
        <button aria-pressed={way === "draw"} onClick={() => setWay("draw")}>Draw</button>
        <button aria-pressed={way === "choose"} onClick={() => setWay("choose")}>Choose</button>
      </div>
      {way === "draw"
        ? <Pad drawn={(image) => ask({ kind: "image", image, name: DRAWN }, isDrawn)} />
        : (
          <DropZone take={(files) => files[0] && askFile(files[0])}>
            {picture && !isDrawn ? <img className="query" src={picture} alt="Your image" /> : <b>Choose an image</b>}
            <span>drop or paste one here</span>
          </DropZone>
        )}
      <div className="samples" role="group" aria-label="Samples">
        {SAMPLES.map((sample) => (
          <button key={sample.name} onClick={() => void askSample(sample)} aria-label={`Search with ${sample.name}`}>
            <img src={sample.address} alt="" />
          </button>
        ))}
      </div>
    </section>
  );
}

const DRAWN = "your drawing";
