import { useEffect, useRef, useState, type PointerEvent } from "react";

import { digitOf, draw, type Stroke } from "./strokes";

const WAIT_MS = 90;
const SIDE = 280;

/** A pad to draw a digit on; `drawn` is called while one draws, once the pen has rested for a moment, and is busy until then. */
export function Pad({ drawn }: { drawn: (image: Blob) => void }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const strokes = useRef<Stroke[]>([]);
  const changes = useRef(0);
  const isGone = useRef(false);
  const [isEmpty, setEmpty] = useState(true);
  const [isBusy, setBusy] = useState(false);
  useEffect(() => {
    isGone.current = false;
    return () => { isGone.current = true; };
  }, []);

  const changed = () => {
    const context = canvas.current!.getContext("2d")!;
    context.clearRect(0, 0, SIDE, SIDE);
    draw(context, strokes.current, 22);
    setEmpty(!strokes.current.length);
    setBusy(true);
    if (changes.current++ === 0) void tell();
  };
  // One picture after the other, so that an older one never comes after a newer. Not put off by each move: it searches while one draws.
  const tell = async () => {
    try {
      for (let told = 0; told !== changes.current && !isGone.current;) {
        await new Promise((resolve) => { setTimeout(resolve, WAIT_MS); });
        told = changes.current;
        const image = strokes.current.length ? await digitOf(strokes.current) : null;
        if (image && strokes.current.length && !isGone.current) drawn(image);
      }
    } finally {
      changes.current = 0;
      setBusy(false);
    }
  };
  const point = (event: PointerEvent<HTMLCanvasElement>) => {
    const box = event.currentTarget.getBoundingClientRect();
    return { x: ((event.clientX - box.left) / box.width) * SIDE, y: ((event.clientY - box.top) / box.height) * SIDE };
  };
  return (
    <div className="pad" aria-busy={isBusy}>
      <canvas
        ref={canvas} width={SIDE} height={SIDE} role="img" aria-label="Drawing pad: draw a digit with a pen, a finger or a mouse"
        onPointerDown={(event) => {
          event.currentTarget.setPointerCapture(event.pointerId);
          strokes.current.push([point(event)]);
          changed();
        }}
        onPointerMove={(event) => {
          if (!event.currentTarget.hasPointerCapture(event.pointerId)) return;
          strokes.current.at(-1)!.push(point(event));
          changed();
        }}
      />
      {isEmpty && <p aria-hidden="true">Draw a digit</p>}
      <button disabled={isEmpty} onClick={() => { strokes.current = []; changed(); }}>Clear</button>
    </div>
  );
}
