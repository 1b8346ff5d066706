import { useEffect, useRef } from "react";

import { addressOf, type Place } from "../address";
import { COLLECTION, type Collection } from "../api/calls";
import { count, Foreign } from "../text";

/** Leads to the other collections, in the same view; hidden while there is only one. */
export function Switch({ collections, place }: { collections: Collection[]; place: Place }) {
  const menu = useRef<HTMLDetailsElement>(null);
  useEffect(() => {
    const close = (event: Event) => {
      if (event instanceof KeyboardEvent ? event.key === "Escape" : !menu.current?.contains(event.target as Node)) {
        if (event instanceof KeyboardEvent && menu.current?.open) menu.current.querySelector("summary")?.focus();
        menu.current?.removeAttribute("open");
      }
    };
    const events = ["keydown", "pointerdown", "focusin"];
    events.forEach((name) => addEventListener(name, close));
    return () => events.forEach((name) => removeEventListener(name, close));
  }, []);
  if (collections.length < 2) return null;
  return (
    <details className="switch" ref={menu}>
      <summary><span className="unseen">Collection: </span><Foreign text={COLLECTION} max={40} /></summary>
      <nav aria-label="Collections">
        <Links collections={collections} place={place} />
      </nav>
    </details>
  );
}

/** Says that the address names a collection that is not there, and which are. */
export function Unknown({ collections }: { collections: Collection[] | null }) {
  return (
    <div className="welcome">
      <h1 className="unseen">Collections</h1>
      <p>There is no collection <Foreign text={COLLECTION} max={80} />.</p>
      <p className="hint">Choose another one, or create it: <code>lookalike collections create NAME --encoder photo</code></p>
      <div className="others"><Links collections={collections ?? []} /></div>
    </div>
  );
}

/** Says how to fill the collection, and which others hold something. */
export function Empty({ collections, add }: { collections: Collection[] | null; add: () => void }) {
  const others = collections?.filter((each) => each.name !== COLLECTION && each.count) ?? [];
  const option = COLLECTION === "default" ? "" : ` --collection ${COLLECTION}`;
  return (
    <div className="welcome">
      <p><Foreign text={COLLECTION} max={40} /> is empty.</p>
      <p className="hint">
        <button className="link" onClick={add}>Add images</button> here, or publish a folder: <code>lookalike publish folder ~/Pictures{option}</code>
      </p>
      {others.length > 0 && <div className="others">There is something to find in <Links collections={others} /></div>}
    </div>
  );
}

function Links({ collections, place }: { collections: Collection[]; place?: Place }) {
  const there: Place = { ...(place ?? { view: "search", k: 15, effort: "normal" }), question: null };
  return (
    <ul>
      {collections.map(({ name, count: images }) => (
        <li key={name}>
          <a href={addressOf(there, name)} aria-current={name === COLLECTION ? "page" : undefined}>
            {name} <small>{images === null ? "waiting" : images ? count(images) : "empty"}</small>
          </a>
        </li>
      ))}
    </ul>
  );
}
