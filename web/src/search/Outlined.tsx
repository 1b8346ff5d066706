import { useState, type CSSProperties } from "react";

import { Picture } from "../Picture";
import type { Outline, Size } from "./outlines";

type Props = { src: string; instead?: string | undefined; alt: string; size?: Size | null; outlines: (size: Size) => Outline[] };

/** A picture with outlines on it. `size` is that of the whole picture, where `src` may be a smaller one; outlines count in its pixels. */
export function Outlined({ src, instead, alt, size, outlines }: Props) {
  const [natural, setNatural] = useState<Size | null>(null);
  const whole = size ?? natural;
  return (
    <div className="shown" style={{ "--shape": natural ? natural.width / natural.height : 1 } as CSSProperties}>
      <Picture
        src={src} instead={instead} alt={alt}
        loaded={({ naturalWidth: width, naturalHeight: height }) => setNatural({ width, height })}
      />
      {natural && whole && <Lines outlines={outlines(whole)} size={whole} />}
    </div>
  );
}

function Lines({ outlines, size: { width, height } }: { outlines: Outline[]; size: Size }) {
  if (!outlines.length) return null;
  const letter = Math.max(width, height) / 16;
  return (
    <svg className="outlines" viewBox={`0 0 ${width} ${height}`} aria-hidden="true">
      {outlines.map(({ corners, label, isRough }) => {
        const points = corners.map((place) => place.join(",")).join(" ");
        const [x, y] = corners.reduce((first, next) => (next[0] + next[1] < first[0] + first[1] ? next : first));
        return (
          <g key={points} data-rough={isRough || undefined}>
            <polygon className="under" points={points} /><polygon points={points} />
            {label && <text x={x + letter / 2} y={y + letter * 1.2} fontSize={letter}>{label}</text>}
          </g>
        );
      })}
    </svg>
  );
}
