import { useEffect, useRef } from "react";
import "./language";

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

export type Line = { name: string; values: readonly (number | null)[]; tone: "accent" | "quiet"; isFilled?: boolean };
type Props = { title: string; times: readonly number[]; lines: readonly Line[]; marks?: readonly number[]; format: (value: number) => string };

const HEIGHT = 150;
const INCREMENTS = [1, 2, 5].flatMap((n) => Array.from({ length: 9 }, (_, power) => n * 10 ** power)).sort((a, b) => a - b);

/** A chart over time; `times` and `marks` (vertical lines) are in milliseconds. */
export function Chart({ title, times, lines, marks = [], format }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot>(null);
  const shown = useRef({ times, lines, marks });
  shown.current = { times, lines, marks };

  useEffect(() => {
    const target = place.current!;
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    const draw = () => {
      chart.current?.destroy();
      chart.current = new uPlot(options(target, shown.current.lines, format, () => shown.current.marks), table(shown.current), target);
    };
    draw();
    const resized = new ResizeObserver(() => chart.current?.setSize({ width: target.clientWidth, height: HEIGHT }));
    resized.observe(target);
    scheme.addEventListener("change", draw);
    return () => {
      resized.disconnect();
      scheme.removeEventListener("change", draw);
      chart.current?.destroy();
      chart.current = null;
    };
  }, [format]);

  useEffect(() => chart.current?.setData(table({ times, lines })), [times, lines]);

  const latest = lines.map(({ name, values }) => `${name} ${told(values.at(-1), format)}`);
  return (
    <figure className="chart">
      <figcaption>
        <h2>{title}</h2>
        <p>
          {lines.map(({ name, values, tone }) => (
            <span key={name} className={tone}>{lines.length > 1 && name} <b>{told(values.at(-1), format)}</b></span>
          ))}
        </p>
      </figcaption>
      <div ref={place} className="plot" role="img" aria-label={`${title} over the last minutes; now ${latest.join(", ")}`} />
    </figure>
  );
}

const told = (value: number | null | undefined, format: Props["format"]): string => (value == null ? "–" : format(value));

function table({ times, lines }: Pick<Props, "times" | "lines">): uPlot.AlignedData {
  return [times.map((at) => at / 1000), ...lines.map(({ values }) => [...values])];
}

function options(target: Element, lines: readonly Line[], format: Props["format"], marks: () => readonly number[]): uPlot.Options {
  const isFromZero = !lines.some(({ isFilled }) => isFilled);
  const tone = (name: string) => getComputedStyle(target).getPropertyValue(`--${name}`).trim();
  const axis: uPlot.Axis = {
    stroke: tone("quiet"), font: "11px system-ui, sans-serif", ticks: { show: false }, grid: { stroke: tone("line"), width: 1 },
  };
  return {
    width: target.clientWidth,
    height: HEIGHT,
    padding: [8, 8, 0, 0],
    legend: { show: false },
    cursor: { show: false },
    scales: { y: { range: (_, low, high) => [low === high || low < high / 2 || isFromZero ? 0 : low, Math.max(high * 1.04, 1)] } },
    axes: [
      { ...axis, grid: { show: false }, space: 90, size: 26, values: (_, at) => at.map((second) => new Date(second * 1000).toLocaleTimeString("en-GB")) },
      { ...axis, size: 58, space: 40, incrs: INCREMENTS, values: (_, at) => at.map((value) => format(value)) },
    ],
    series: [
      {},
      ...lines.map(({ tone: name, isFilled }): uPlot.Series => ({
        stroke: tone(name), width: 2, points: { show: false }, ...(isFilled ? { fill: tone("accent-wash") } : {}),
      })),
    ],
    hooks: { drawClear: [(plot) => drawMarks(plot, marks(), tone("quiet"))] },
  };
}

function drawMarks(plot: uPlot, marks: readonly number[], stroke: string): void {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.strokeStyle = stroke;
  ctx.setLineDash([3, 4]);
  for (const mark of marks) {
    const x = Math.round(plot.valToPos(mark / 1000, "x", true));
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}
