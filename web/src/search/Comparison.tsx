import { useEffect, useMemo, useRef, useState, type CSSProperties } from "react";

import type { Match } from "../api/calls";
import { isSmall } from "../Picture";
import { Outlined } from "./Outlined";
import { partOf, sharedIn, type Size } from "./outlines";
import { laidOver, paintDifference, paintOverlay, type Pair } from "./overlay";
import { loaded } from "./picture";

type Props = { query: string; queryInstead: string | undefined; querySize: Size | null; result: string; resultInstead: string; match: Match; names?: readonly [query: string, result: string] };

/** Query and result side by side, each with the outline of the other; and laid over each other, where the verdict says how. */
export function Comparison({ query, queryInstead, querySize, result, resultInstead, match, names = ["Your image", "Result"] }: Props) {
  const pair = usePair(query, queryInstead, querySize, result, resultInstead);
  const isOver = pair && (match.alignment || (isSmall(pair.query) && isSmall(pair.result)));
  return (
    <div className="sides">
      <figure>
        <Outlined
          src={query} instead={queryInstead} alt={names[0]} size={querySize}
          outlines={(size) => (match.outline ? sharedIn("query", match) : partOf(match, size))}
        />
        <figcaption>{names[0]}</figcaption>
      </figure>
      <figure>
        <Outlined
          src={result} instead={resultInstead} alt={names[1]} size={match.width && match.height ? { width: match.width, height: match.height } : null}
          outlines={() => sharedIn("match", match)}
        />
        <figcaption>{names[1]}, at {match.distance.toFixed(3)}</figcaption>
      </figure>
      {isOver && <Over pair={pair} match={match} names={names} />}
    </div>
  );
}

/** Both over each other with a slider, and where they differ: the brighter, the more. */
function Over({ pair, match, names }: { pair: Pair; match: Match; names: readonly [string, string] }) {
  const overlay = useRef<HTMLCanvasElement>(null);
  const difference = useRef<HTMLCanvasElement>(null);
  const [share, setShare] = useState<number | null>(null);
  const [edge, setEdge] = useState(50);
  const shape = { "--shape": pair.result.naturalWidth / pair.result.naturalHeight } as CSSProperties;
  const small = isSmall(pair.result) || undefined;
  const laid = useMemo(() => laidOver(pair, match, false), [pair, match]);
  useEffect(() => {
    // Smooth, since edges of turned pixels are no difference.
    const isInverted = !!match.edits?.some(({ name }) => name === "inversion");
    setShare(paintDifference(difference.current!, laidOver(pair, match, true), isInverted));
  }, [pair, match]);
  useEffect(() => paintOverlay(overlay.current!, laid, edge / 100), [laid, edge]);
  return (
    <>
      <figure className="over">
        <div className="shown" style={shape}><canvas ref={overlay} data-small={small} role="img" aria-label="Your image laid over the result" /></div>
        <figcaption>
          <input
            type="range" min={0} max={100} value={edge} aria-label="From your image to the result" aria-valuetext={`${edge} % result`}
            onChange={(event) => setEdge(event.target.valueAsNumber)}
          />
          <span aria-hidden="true"><span>{names[1]}</span><span>{names[0]}</span></span>
        </figcaption>
      </figure>
      <figure>
        <div className="shown" style={shape}><canvas ref={difference} data-small={small} role="img" aria-label="Difference of your image and the result" /></div>
        <figcaption>Difference{share !== null && `, ${(share * 100).toFixed(1)} %`}</figcaption>
      </figure>
    </>
  );
}

/**
 * Both pictures once they are loaded; null as long as none are, or where the browser can show neither them nor what stands in for them.
 * The result's thumbnail does until the original is loaded, whichever of them was named first: an original may take long.
 */
function usePair(query: string, queryInstead: string | undefined, querySize: Size | null, result: string, resultInstead: string): Pair | null {
  const [pair, setPair] = useState<Pair | null>(null);
  useEffect(() => {
    let isDone = false;
    const asked = loaded(query, queryInstead);
    const show = async (coming: Promise<HTMLImageElement>, isLast: boolean) => {
      const [query, result] = await Promise.all([asked, coming]);
      if (isDone) return;
      isDone = isLast;
      setPair({ query, size: querySize ?? { width: query.naturalWidth, height: query.naturalHeight }, result });
    };
    if (result !== resultInstead) show(loaded(resultInstead), false).catch(() => undefined);
    show(loaded(result, resultInstead), true).catch(() => undefined);
    return () => { isDone = true; };
  }, [query, queryInstead, querySize?.width, querySize?.height, result, resultInstead]);
  return pair;
}
