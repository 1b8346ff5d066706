import { useState } from "react";

/** Up to so many pixels a side, each of them should be seen. */
const FEW = 64;

export const isSmall = ({ naturalWidth, naturalHeight }: HTMLImageElement): boolean => Math.max(naturalWidth, naturalHeight) <= FEW;

type Props = { src: string; instead?: string | undefined; alt?: string; loaded?: (image: HTMLImageElement) => void };

/** A picture: smooth, or in squares if it has few pixels; `instead` is shown where the browser cannot show it, and after that a word. */
export function Picture({ src, instead, alt = "", loaded }: Props) {
  const [small, setSmall] = useState(false);
  const [failed, setFailed] = useState<readonly string[]>([]);
  const shown = [src, instead].find((address) => address && !failed.includes(address));
  if (!shown) return <span className="unshown" />;
  return (
    <img
      src={shown} alt={alt} data-small={small || undefined} draggable={false}
      onLoad={({ currentTarget }) => { setSmall(isSmall(currentTarget)); loaded?.(currentTarget); }}
      onError={() => setFailed([...failed, shown])}
    />
  );
}
