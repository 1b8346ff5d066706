/** Digits as a hand draws them: for each, strokes of [x, y] in a pad of 100 × 100. */
const arc = (x, y, rx, ry, from, to) => Array.from({ length: 25 }, (_, n) => {
  const turn = ((from + ((to - from) * n) / 24) * Math.PI) / 180;
  return [x + rx * Math.cos(turn), y + ry * Math.sin(turn)];
});

export const DIGITS = [
  [arc(50, 50, 22, 32, -80, 285)],
  [[[56, 16], [52, 50], [47, 84]]],
  [[...arc(48, 33, 19, 17, 190, 400), [34, 80], ...[[48, 77], [72, 81]]]],
  [[...arc(46, 33, 19, 15, 205, 440), ...arc(47, 65, 21, 18, -80, 155)]],
  [[[38, 18], [30, 50], [68, 48]], [[64, 20], [61, 50], [58, 86]]],
  [[[68, 18], [40, 20], [36, 46], ...arc(47, 62, 21, 20, -105, 140)]],
  [[[60, 14], [44, 34], ...arc(50, 65, 18, 19, 200, 560)]],
  [[[28, 22], [70, 20], [58, 46], [46, 86]]],
  [[[64, 24], ...arc(50, 32, 15, 15, -35, -220), [52, 49], ...arc(49, 67, 16, 17, -60, 235), [62, 28]]],
  [[...arc(48, 35, 17, 17, -10, -350), [64, 40], [60, 62], [55, 86]]],
];

/** Draw them onto the pad with the mouse. */
export async function drawOn(page, strokes) {
  const pad = await page.locator(".pad canvas").boundingBox();
  for (const stroke of strokes) {
    for (const [n, [x, y]] of stroke.entries()) {
      await page.mouse.move(pad.x + (x / 100) * pad.width, pad.y + (y / 100) * pad.height);
      if (!n) await page.mouse.down();
    }
    await page.mouse.up();
  }
}
