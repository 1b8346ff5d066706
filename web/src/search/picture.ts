import { useEffect, useState } from "react";

import { originalUrl, type Question } from "../api/calls";

const GIVE_BACK_MS = 5000;

/** Address of the query's picture; a chosen one's is given back when it is no longer shown. */
export function usePicture(question: Question | null): string | null {
  const [address, setAddress] = useState<string | null>(null);
  useEffect(() => {
    if (question?.kind !== "image") {
      setAddress(question ? originalUrl(question.id) : null);
      return undefined;
    }
    const made = URL.createObjectURL(question.image);
    setAddress(made);
    // Not at once: an element may still be loading it, and a browser reports that as an error.
    return () => { setTimeout(() => URL.revokeObjectURL(made), GIVE_BACK_MS); };
  }, [question]);
  return address;
}

export const loaded = (address: string): Promise<HTMLImageElement> => new Promise((resolve, reject) => {
  const picture = new Image();
  picture.onload = () => resolve(picture);
  picture.onerror = () => reject(new Error("The picture cannot be shown."));
  picture.src = address;
});
