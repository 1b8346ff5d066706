/** Strokes of a pen, and the picture that MNIST's makers would have made of them. */
export type Point = { x: number; y: number };
export type Stroke = Point[];

const SIDE = 28;
/** MNIST fits a digit into 20 × 20 pixels and puts its centre of mass into the middle of 28 × 28. */
const INK_SIDE = 20;
const PEN = 2.4;

/** White lines of `width` pixels. */
export function draw(context: CanvasRenderingContext2D, strokes: readonly Stroke[], width: number): void {
  context.lineWidth = width;
  context.lineCap = context.lineJoin = "round";
  context.strokeStyle = "#fff";
  for (const stroke of strokes) {
    context.beginPath();
    stroke.forEach(({ x, y }, n) => (n ? context.lineTo(x, y) : context.moveTo(x, y)));
    if (stroke.length === 1) context.lineTo(stroke[0]!.x + 0.01, stroke[0]!.y);
    context.stroke();
  }
}

/** The strokes as a PNG of 28 × 28 pixels, white on black. */
export function digitOf(strokes: readonly Stroke[]): Promise<Blob> {
  const points = strokes.flat();
  const [left, right] = bounds(points.map(({ x }) => x));
  const [top, bottom] = bounds(points.map(({ y }) => y));
  const scale = Math.min((INK_SIDE - PEN) / Math.max(right - left, bottom - top, 1), 0.12);
  const fitted = strokes.map((stroke) => stroke.map(({ x, y }) => ({
    x: (x - (left + right) / 2) * scale + SIDE / 2, y: (y - (top + bottom) / 2) * scale + SIDE / 2,
  })));
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIDE;
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  paint(context, fitted, 0, 0);
  const { x, y } = centreOfMass(context);
  paint(context, fitted, SIDE / 2 - x, SIDE / 2 - y);
  return new Promise((resolve, reject) => {
    canvas.toBlob((made) => (made ? resolve(made) : reject(new Error("The drawing cannot be encoded."))), "image/png");
  });
}

const bounds = (values: number[]): [number, number] => [Math.min(...values), Math.max(...values)];

function paint(context: CanvasRenderingContext2D, strokes: readonly Stroke[], right: number, down: number): void {
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.fillStyle = "#000";
  context.fillRect(0, 0, SIDE, SIDE);
  context.translate(right, down);
  draw(context, strokes, PEN);
}

function centreOfMass(context: CanvasRenderingContext2D): Point {
  const { data } = context.getImageData(0, 0, SIDE, SIDE);
  let mass = 0, x = 0, y = 0;
  for (let n = 0; n < SIDE * SIDE; n++) {
    const ink = data[4 * n]!;
    mass += ink;
    x += ink * ((n % SIDE) + 0.5);
    y += ink * (Math.floor(n / SIDE) + 0.5);
  }
  return mass ? { x: x / mass, y: y / mass } : { x: SIDE / 2, y: SIDE / 2 };
}
