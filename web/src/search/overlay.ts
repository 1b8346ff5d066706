/** Query and result painted over each other, as the alignment says. */
import type { Match } from "../api/calls";
import { isSmall } from "../Picture";
import { isAffine, moved, product, scaled, through, type Matrix } from "./matrices";
import type { Place, Size } from "./outlines";

const SIDE = 640;
const SMALL_SIDE = 224;
/** Perspective is painted in so many pieces a side, each without. */
const PIECES = 12;

/** `size` is the query's, where its picture may be a smaller one. */
export type Pair = { query: HTMLImageElement; size: Size; result: HTMLImageElement };
/** `query` as it lies on `result`, both in the result's shape; empty where it does not reach. */
export type Laid = { query: HTMLCanvasElement; result: HTMLCanvasElement };
type Context = CanvasRenderingContext2D;

/** `isSmooth`: pixels that are to be seen otherwise, where there are few, run into each other. */
export function laidOver(pair: Pair, match: Match, isSmooth: boolean): Laid {
  const { naturalWidth: width, naturalHeight: height } = pair.result;
  const scale = (isSmall(pair.result) ? SMALL_SIDE : SIDE) / Math.max(width, height);
  const [query, result] = [0, 1].map(() => {
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(width * scale));
    canvas.height = Math.max(1, Math.round(height * scale));
    return canvas;
  }) as [HTMLCanvasElement, HTMLCanvasElement];
  const context = contextOf(result);
  context.imageSmoothingEnabled = isSmooth || !isSmall(pair.result);
  context.drawImage(pair.result, 0, 0, result.width, result.height);
  drawQuery(contextOf(query), pair, match, isSmooth);
  return { query, result };
}

/** Left of `share` the result, right of it the query, and the result pale where the query does not reach. */
export function paintOverlay(canvas: HTMLCanvasElement, { query, result }: Laid, share: number): void {
  const { width, height } = Object.assign(canvas, { width: result.width, height: result.height });
  const context = contextOf(canvas);
  const edge = Math.round(width * share);
  context.drawImage(result, 0, 0);
  context.fillStyle = "rgb(0 0 0 / .8)";
  context.fillRect(edge, 0, width - edge, height);
  if (edge < width) context.drawImage(query, edge, 0, width - edge, height, edge, 0, width - edge, height);
  context.fillStyle = "#fff";
  if (edge > 0 && edge < width) context.fillRect(edge - 1, 0, 2, height);
}

/** Paint |query − result| of the grey values where both are; returns its mean as a share of white. */
export function paintDifference(canvas: HTMLCanvasElement, { query, result }: Laid, isInverted: boolean): number {
  const { width, height } = Object.assign(canvas, { width: result.width, height: result.height });
  const one = contextOf(result).getImageData(0, 0, width, height);
  const { data: other } = contextOf(query).getImageData(0, 0, width, height);
  let sum = 0, both = 0;
  for (let at = 0; at < other.length; at += 4) {
    const isBoth = one.data[at + 3] === 255 && other[at + 3]! > 250;
    const value = grey(other, at);
    const difference = isBoth ? Math.abs(grey(one.data, at) - (isInverted ? 255 - value : value)) : 0;
    both += Number(isBoth);
    sum += difference;
    one.data.set([difference, difference, difference, 255], at);
  }
  contextOf(canvas).putImageData(one, 0, 0);
  return sum / (255 * Math.max(both, 1));
}

const contextOf = (canvas: HTMLCanvasElement): Context => canvas.getContext("2d", { willReadFrequently: true })!;

/** The query where the alignment puts it on the result; without one as large as can be, in the middle. */
function drawQuery(context: Context, { query, size, result }: Pair, match: Match, isSmooth: boolean): void {
  const { width, height } = context.canvas;
  const { naturalWidth, naturalHeight } = query;
  context.imageSmoothingEnabled = isSmooth || !isSmall(query);
  if (!match.alignment) {
    const scale = Math.min(width / naturalWidth, height / naturalHeight);
    const middle = moved((width - naturalWidth * scale) / 2, (height - naturalHeight * scale) / 2);
    drawThrough(context, query, product(middle, scaled(scale, scale)));
    return;
  }
  const toCanvas = scaled(width / (match.width ?? result.naturalWidth), height / (match.height ?? result.naturalHeight));
  // An alignment counts from the middle of the first pixel, a canvas from its corner.
  const alignment = product(moved(0.5, 0.5), match.alignment as unknown as Matrix, moved(-0.5, -0.5));
  drawThrough(context, query, product(toCanvas, alignment, scaled(size.width / naturalWidth, size.height / naturalHeight)));
}

function drawThrough(context: Context, picture: HTMLImageElement, matrix: Matrix): void {
  const { naturalWidth: width, naturalHeight: height } = picture;
  if (isAffine(matrix, { width, height })) return drawPiece(context, picture, matrix);
  const at = (column: number, row: number): Place => [(column * width) / PIECES, (row * height) / PIECES];
  for (let row = 0; row < PIECES; row++) {
    for (let column = 0; column < PIECES; column++) {
      const [a, b, c, d] = [at(column, row), at(column + 1, row), at(column, row + 1), at(column + 1, row + 1)];
      drawTriangle(context, picture, matrix, [a, b, c]);
      drawTriangle(context, picture, matrix, [d, c, b]);
    }
  }
}

/** The part of the picture between three corners: the second lies beside the first, the third above or below it. */
function drawTriangle(context: Context, picture: HTMLImageElement, matrix: Matrix, corners: [Place, Place, Place]): void {
  const [a, b, c] = corners.map((corner) => through(matrix, corner));
  if (!a || !b || !c) return;
  const [[left, top], [right], [, bottom]] = corners;
  const [x, y] = [0, 1].map((axis) => (b[axis]! - a[axis]!) / (right - left));
  const [u, v] = [0, 1].map((axis) => (c[axis]! - a[axis]!) / (bottom - top));
  const middle = [0, 1].map((axis) => (a[axis]! + b[axis]! + c[axis]!) / 3);
  context.save();
  context.resetTransform();
  context.beginPath();
  // A little larger, so that no seams are seen.
  for (const [px, py] of [a, b, c]) context.lineTo(px + 0.6 * Math.sign(px - middle[0]!), py + 0.6 * Math.sign(py - middle[1]!));
  context.clip();
  drawPiece(context, picture, [[x!, u!, a[0] - x! * left - u! * top], [y!, v!, a[1] - y! * left - v! * top], [0, 0, 1]]);
  context.restore();
}

function drawPiece(context: Context, picture: HTMLImageElement, [[a, b, c], [d, e, f]]: Matrix): void {
  context.setTransform(a, d, b, e, c, f);
  context.drawImage(picture, 0, 0);
}

const grey = (data: ArrayLike<number>, at: number): number => (data[at]! * 3 + data[at + 1]! * 6 + data[at + 2]!) / 10;
