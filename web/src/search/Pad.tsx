import { useEffect, useRef, useState, type PointerEvent } from "react";

import { digitOf, draw, type Stroke } from "./strokes";

const WAIT_MS = 90;
const SIDE = 280;

/** A pad to draw a digit on; `drawn` is called while one draws, once the pen has rested for a moment. */
export function Pad({ drawn }: { drawn: (image: Blob) => void }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const strokes = useRef<Stroke[]>([]);
  const waiting = useRef(0);
  const [isEmpty, setEmpty] = useState(true);
  useEffect(() => () => clearTimeout(waiting.current), []);

  const changed = () => {
    const context = canvas.current!.getContext("2d")!;
    context.clearRect(0, 0, SIDE, SIDE);
    draw(context, strokes.current, 22);
    setEmpty(!strokes.current.length);
    if (waiting.current || !strokes.current.length) return;
    // Not put off by each move: it searches while one draws.
    waiting.current = window.setTimeout(() => {
      waiting.current = 0;
      if (strokes.current.length) void digitOf(strokes.current).then(drawn);
    }, WAIT_MS);
  };
  const point = (event: PointerEvent<HTMLCanvasElement>) => {
    const box = event.currentTarget.getBoundingClientRect();
    return { x: ((event.clientX - box.left) / box.width) * SIDE, y: ((event.clientY - box.top) / box.height) * SIDE };
  };
  return (
    <div className="pad">
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
