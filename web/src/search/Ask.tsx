import { useEffect, useRef, useState } from "react";

import type { IndexAnswer, Question } from "../api/calls";
import { DropZone, useDrops } from "../DropZone";
import { Outlined } from "./Outlined";
import { finds } from "./outlines";
import { Pad } from "./Pad";
import type { usePicture } from "./picture";
import { Newest, Samples } from "./Samples";
import type { Found } from "./useSearch";

const DRAWN = "your drawing";

type Props = {
  ask: (question: Question, replace?: boolean) => void; index: IndexAnswer | null; query: ReturnType<typeof usePicture>;
  question: Question | null; found: Found | null;
};

/** The ways to ask: choose, drop, paste, or take a sample; and draw, where the encoder knows drawings. */
export function Ask({ ask, index, query: { picture, instead }, question, found }: Props) {
  const [way, setWay] = useState<"draw" | "choose">("draw");
  const knowsDrawings = !!index?.encoder.knows_drawings;
  const askImage = (image: Blob, name: string) => {
    setWay("choose");
    ask({ kind: "image", image, name });
  };
  const takeFirst = ([file]: File[]) => { if (file) askImage(file, file.name); };
  const isOver = useDrops(takeFirst);
  usePasted((file) => askImage(file, "pasted image"));
  const isDrawn = question?.kind === "image" && question.name === DRAWN;
  return (
    <section className="ask card" aria-label="Your image">
      {knowsDrawings && (
        <div className="ways" role="group" aria-label="How to ask">
          <button aria-pressed={way === "draw"} onClick={() => setWay("draw")}>Draw</button>
          <button aria-pressed={way === "choose"} onClick={() => setWay("choose")}>Choose</button>
        </div>
      )}
      {knowsDrawings && way === "draw"
        ? <Pad drawn={(image) => ask({ kind: "image", image, name: DRAWN }, isDrawn)} />
        : (
          <DropZone take={takeFirst} isOver={isOver}>
            {picture && !isDrawn
              ? (
                <Outlined
                  key={picture} src={picture} instead={instead} alt="Your image"
                  outlines={(size) => (found?.effort === "thorough" ? finds(found.answer.matches, size) : [])}
                />
              )
              : <b>{question?.kind === "address" ? "Your image is elsewhere" : "Choose an image"}</b>}
            <span>drop or paste one here</span>
          </DropZone>
        )}
      {index?.search_by_address && <ByAddress ask={(url) => { setWay("choose"); ask({ kind: "address", url }); }} />}
      {knowsDrawings ? <Samples ask={askImage} /> : index && <Newest newest={index.newest} ask={ask} />}
    </section>
  );
}

/** Where a picture lies; the API fetches it, the page does not. */
function ByAddress({ ask }: { ask: (url: string) => void }) {
  const [url, setUrl] = useState("");
  return (
    <form className="by-address" onSubmit={(event) => { event.preventDefault(); ask(url.trim()); }}>
      <input
        type="url" aria-label="Address of a picture" placeholder="https://… of a picture" required pattern="\s*https?://.+" maxLength={2048}
        value={url} onChange={(event) => setUrl(event.target.value)}
      />
      <button>Search</button>
    </form>
  );
}

function usePasted(take: (file: File) => void) {
  const newest = useRef(take);
  newest.current = take;
  useEffect(() => {
    const paste = (event: ClipboardEvent) => {
      const file = event.clipboardData?.files[0];
      if (file) newest.current(file);
    };
    addEventListener("paste", paste);
    return () => removeEventListener("paste", paste);
  }, []);
}
