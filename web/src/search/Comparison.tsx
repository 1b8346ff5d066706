import { useEffect, useRef, useState } from "react";

import type { Match } from "../api/calls";
import { loaded } from "./picture";

const SIDE = 224;

type Props = { query: string; result: string; match: Match };
type Pair = { query: HTMLImageElement; result: HTMLImageElement };
type Context = CanvasRenderingContext2D;

/** Query and result side by side, laid over each other as the verdict says, and where they differ: the brighter, the more. */
export function Comparison({ query, result, match }: Props) {
  const overlay = useRef<HTMLCanvasElement>(null);
  const difference = useRef<HTMLCanvasElement>(null);
  const [pair, setPair] = useState<Pair | null>(null);
  const [share, setShare] = useState<number | null>(null);
  const [opacity, setOpacity] = useState(50);
  useEffect(() => {
    let isCurrent = true;
    Promise.all([loaded(query), loaded(result)]).then(
      ([query, result]) => { if (isCurrent) setPair({ query, result }); }, () => undefined,
    );
    return () => { isCurrent = false; };
  }, [query, result]);
  useEffect(() => { if (pair) setShare(paintDifference(difference.current!, pair, match)); }, [pair, match]);
  useEffect(() => { if (pair) paintOverlay(overlay.current!, pair, match, opacity / 100); }, [pair, match, opacity]);
  return (
    <div className="sides">
      <figure><img src={query} alt="" /><figcaption>Query</figcaption></figure>
      <figure><img src={result} alt="" /><figcaption>Result, at {match.distance.toFixed(3)}</figcaption></figure>
      <figure className="over">
        <canvas ref={overlay} width={SIDE} height={SIDE} role="img" aria-label="Query laid over the result" />
        <figcaption>
          <input
            type="range" min={0} max={100} value={opacity} aria-label="From result to query" aria-valuetext={`${opacity} % query`}
            onChange={(event) => setOpacity(event.target.valueAsNumber)}
          />
          <span aria-hidden="true"><span>Result</span><span>Query</span></span>
        </figcaption>
      </figure>
      <figure>
        <canvas ref={difference} width={SIDE} height={SIDE} role="img" aria-label="Difference of query and result" />
        <figcaption>Difference{share !== null && `, ${(share * 100).toFixed(1)} %`}</figcaption>
      </figure>
    </div>
  );
}

function paintOverlay(canvas: HTMLCanvasElement, pair: Pair, match: Match, opacity: number) {
  const context = cleared(canvas, "#000");
  drawResult(context, pair.result);
  context.globalAlpha = opacity;
  drawQuery(context, pair, match);
}

/** Paint |query − result| of the grey values where both are, smooth, since edges of turned pixels are no difference; returns its mean as a share of white. */
function paintDifference(canvas: HTMLCanvasElement, pair: Pair, match: Match): number {
  const context = cleared(canvas);
  drawResult(context, pair.result, true);
  const one = context.getImageData(0, 0, SIDE, SIDE);
  cleared(canvas);
  drawQuery(context, pair, match, true);
  const { data: other } = context.getImageData(0, 0, SIDE, SIDE);
  const isInverted = match.edits?.some(({ name }) => name === "inversion");
  let sum = 0, both = 0;
  for (let at = 0; at < other.length; at += 4) {
    const isBoth = one.data[at + 3] === 255 && other[at + 3]! > 250;
    const value = grey(other, at);
    const difference = isBoth ? Math.abs(grey(one.data, at) - (isInverted ? 255 - value : value)) : 0;
    both += Number(isBoth);
    sum += difference;
    one.data.set([difference, difference, difference, 255], at);
  }
  cleared(canvas);
  context.putImageData(one, 0, 0);
  return sum / (255 * Math.max(both, 1));
}

function cleared(canvas: HTMLCanvasElement, ground?: string): Context {
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.resetTransform();
  context.globalAlpha = 1;
  context.clearRect(0, 0, SIDE, SIDE);
  if (ground) {
    context.fillStyle = ground;
    context.fillRect(0, 0, SIDE, SIDE);
  }
  return context;
}

/** The result fills the canvas along its longer side. */
function fitted({ naturalWidth: width, naturalHeight: height }: HTMLImageElement) {
  const scale = SIDE / Math.max(width, height);
  return { scale, x: (SIDE - width * scale) / 2, y: (SIDE - height * scale) / 2 };
}

function drawResult(context: Context, result: HTMLImageElement, isSmooth = false) {
  const { scale, x, y } = fitted(result);
  context.setTransform(scale, 0, 0, scale, x, y);
  context.imageSmoothingEnabled = isSmooth || scale < 1;
  context.drawImage(result, 0, 0);
}

/** The query where the alignment puts it on the result; without one as large as the result, in the middle. */
function drawQuery(context: Context, { query, result }: Pair, match: Match, isSmooth = false) {
  const rows = match.alignment;
  if (!rows) {
    const { scale, x, y } = fitted(query);
    context.setTransform(scale, 0, 0, scale, x, y);
  } else {
    const [[a, b, c], [d, e, f]] = rows as [[number, number, number], [number, number, number]];
    const { scale, x, y } = fitted(result);
    // A thumbnail may stand for the match; and the alignment counts from the middle of a pixel, a canvas from its corner.
    const s = scale * result.naturalWidth / (match.width ?? result.naturalWidth);
    context.setTransform(s * a, s * d, s * b, s * e, s * (c + 0.5 - (a + b) / 2) + x, s * (f + 0.5 - (d + e) / 2) + y);
  }
  context.imageSmoothingEnabled = isSmooth || query.naturalWidth > SIDE;
  context.drawImage(query, 0, 0);
}

const grey = (data: ArrayLike<number>, at: number): number => (data[at]! * 3 + data[at + 1]! * 6 + data[at + 2]!) / 10;
