/** 3 × 3 matrices that take places of one picture to places of another, perspective included. */
import type { Place } from "./outlines";

type Row = readonly [number, number, number];
export type Matrix = readonly [Row, Row, Row];

export const scaled = (x: number, y: number): Matrix => [[x, 0, 0], [0, y, 0], [0, 0, 1]];
export const moved = (x: number, y: number): Matrix => [[1, 0, x], [0, 1, y], [0, 0, 1]];

/** First the last one, then those before it. */
export function product(...matrices: Matrix[]): Matrix {
  return matrices.reduce((first, second) => first.map(([a, b, c]) => (
    [0, 1, 2].map((column) => a * second[0][column]! + b * second[1][column]! + c * second[2][column]!)
  )) as unknown as Matrix);
}

/** Where it takes a place; null at its horizon and beyond. */
export function through([[a, b, c], [d, e, f], [g, h, i]]: Matrix, [x, y]: Place): Place | null {
  const depth = g * x + h * y + i;
  return depth > 1e-9 ? [(a * x + b * y + c) / depth, (d * x + e * y + f) / depth] : null;
}

/** Whether lines that are parallel stay so. */
export const isAffine = ([, , [g, h]]: Matrix, { width, height }: { width: number; height: number }): boolean =>
  Math.abs(g) * width + Math.abs(h) * height < 1e-4;
