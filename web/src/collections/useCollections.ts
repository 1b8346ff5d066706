/** Which collections there are, looked up now and then. */
import { useEffect, useState } from "react";

import { collections, type Collection } from "../api/calls";

const INTERVAL_MS = 5000;

/** Null until it is known; asked again at once when the service comes back. */
export function useCollections(isConnected: boolean): Collection[] | null {
  const [found, setFound] = useState<Collection[] | null>(null);
  useEffect(() => {
    let isCurrent = true;
    const look = () => {
      if (document.hidden) return;
      collections().then((all) => isCurrent && setFound(all), () => undefined); // the head of the page says that it is away
    };
    look();
    const clock = setInterval(look, INTERVAL_MS);
    document.addEventListener("visibilitychange", look);
    return () => {
      isCurrent = false;
      clearInterval(clock);
      document.removeEventListener("visibilitychange", look);
    };
  }, [isConnected]);
  return found;
}
