import { useEffect, useState } from "react";

import { originalUrl, thumbnailUrl, type Question } from "../api/calls";

const GIVE_BACK_MS = 5000;

/** Addresses of the query's picture, and of what is shown where the browser cannot show that; a chosen one's is given back when it is no longer shown. */
export function usePicture(question: Question | null): { picture: string | null; instead: string | undefined } {
  const [address, setAddress] = useState<string | null>(null);
  useEffect(() => {
    if (question?.kind !== "image") {
      setAddress(question?.kind === "id" ? originalUrl(question.id) : null); // the page itself asks nobody but the API
      return undefined;
    }
    const made = URL.createObjectURL(question.image);
    setAddress(made);
    // Not at once: an element may still be loading it, and a browser reports that as an error.
    return () => { setTimeout(() => URL.revokeObjectURL(made), GIVE_BACK_MS); };
  }, [question]);
  return { picture: address, instead: question?.kind === "id" ? thumbnailUrl(question.id) : undefined };
}

/** The picture at the address, or else at the other one. */
export function loaded(address: string, instead?: string): Promise<HTMLImageElement> {
  const found = new Promise<HTMLImageElement>((resolve, reject) => {
    const picture = new Image();
    picture.onload = () => resolve(picture);
    picture.onerror = () => reject(new Error("The picture cannot be shown."));
    picture.src = address;
  });
  return instead ? found.catch(() => loaded(instead)) : found;
}
