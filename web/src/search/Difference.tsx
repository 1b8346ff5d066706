import { useEffect, useRef, useState } from "react";

import { loaded } from "./picture";

const SIDE = 160;

/** Query and result side by side, and where they differ: the brighter, the more. */
export function Difference({ query, result, distance }: { query: string; result: string; distance: number }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [share, setShare] = useState<number | null>(null);
  useEffect(() => {
    let isCurrent = true;
    Promise.all([query, result].map(loaded)).then(([a, b]) => {
      if (isCurrent && a && b && canvas.current) setShare(paint(canvas.current, a, b));
    }, () => undefined);
    return () => { isCurrent = false; };
  }, [query, result]);
  return (
    <div className="sides">
      <figure><img src={query} alt="" /><figcaption>Query</figcaption></figure>
      <figure><img src={result} alt="" /><figcaption>Result, at {distance.toFixed(3)}</figcaption></figure>
      <figure>
        <canvas ref={canvas} width={SIDE} height={SIDE} role="img" aria-label="Difference of query and result" />
        <figcaption>Difference{share !== null && `, ${(share * 100).toFixed(1)} %`}</figcaption>
      </figure>
    </div>
  );
}

/** Paint |a − b| of the grey values; returns its mean as a share of white. */
function paint(canvas: HTMLCanvasElement, a: HTMLImageElement, b: HTMLImageElement): number {
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  const [one, other] = [grey(context, a), grey(context, b)];
  const pixels = context.createImageData(SIDE, SIDE);
  let sum = 0;
  for (let n = 0; n < SIDE * SIDE; n++) {
    const difference = Math.abs(one[n]! - other[n]!);
    sum += difference;
    pixels.data.set([difference, difference, difference, 255], 4 * n);
  }
  context.putImageData(pixels, 0, 0);
  return sum / (255 * SIDE * SIDE);
}

function grey(context: CanvasRenderingContext2D, image: HTMLImageElement): Uint8Array {
  context.imageSmoothingEnabled = image.naturalWidth > SIDE;
  context.fillStyle = "#000";
  context.fillRect(0, 0, SIDE, SIDE);
  const scale = SIDE / Math.max(image.naturalWidth, image.naturalHeight);
  const [width, height] = [image.naturalWidth * scale, image.naturalHeight * scale];
  context.drawImage(image, (SIDE - width) / 2, (SIDE - height) / 2, width, height);
  const { data } = context.getImageData(0, 0, SIDE, SIDE);
  return Uint8Array.from({ length: SIDE * SIDE }, (_, n) => (data[4 * n]! * 3 + data[4 * n + 1]! * 6 + data[4 * n + 2]!) / 10);
}
