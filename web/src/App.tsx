import { lazy, Suspense, useCallback } from "react";

import { AddView } from "./add/AddView";
import { addressOf, usePlace, type View } from "./address";
import { BASE, COLLECTION, type Question, type Session } from "./api/calls";
import { Switch, Unknown } from "./collections/Switch";
import { useCollections } from "./collections/useCollections";
import { LiveView } from "./live/LiveView";
import { useIndex, type Feed } from "./live/useIndex";
import { SearchView } from "./search/SearchView";
import { count } from "./text";

const VIEWS: [View, string][] = [
  ["search", "Search"], ["duplicates", "Duplicates"], ["watches", "Watches"], ["live", "Live"], ["add", "Add"],
];

// Loaded when they are looked at: most people come to search.
const DuplicatesView = lazy(async () => ({ default: (await import("./duplicates/DuplicatesView")).DuplicatesView }));
const WatchesView = lazy(async () => ({ default: (await import("./watches/WatchesView")).WatchesView }));

export function App({ session, signOut }: { session: Session; signOut: () => void }) {
  const [place, go] = usePlace();
  const feed = useIndex();
  const collections = useCollections(feed.isConnected);
  const isKnown = !collections || collections.some(({ name }) => name === COLLECTION);
  const ask = useCallback(
    (question: Question, replace = false) => go({ view: "search", question }, replace), [go],
  );
  return (
    <>
      <header className="top">
        <a className="name" href={addressOf({ ...place, view: "search", question: null })} onClick={(event) => { event.preventDefault(); go({ view: "search", question: null }); }}>
          <Mark /> lookalike
        </a>
        {collections && <Switch collections={collections} place={place} />}
        <nav aria-label="Views">
          {VIEWS.map(([view, name]) => (
            <button key={view} aria-current={place.view === view ? "page" : undefined} onClick={() => go({ view })}>
              {name}
            </button>
          ))}
        </nav>
        <Standing feed={feed} />
      </header>
      <main>
        {!isKnown && <Unknown collections={collections} />}
        {isKnown && place.view === "search" && (
          <SearchView
            place={place} index={feed.index} collections={collections} ask={ask} add={() => go({ view: "add" })}
            setK={(k) => go({ k }, true)} setEffort={(effort) => go({ effort }, true)}
            showWatches={() => go({ view: "watches" })}
          />
        )}
        <Suspense>
          {isKnown && place.view === "duplicates" && <DuplicatesView ask={ask} />}
          {isKnown && place.view === "watches" && <WatchesView index={feed.index} ask={ask} />}
        </Suspense>
        {isKnown && place.view === "live" && <LiveView feed={feed} ask={ask} />}
        <AddView hidden={!isKnown || place.view !== "add"} ask={ask} />
      </main>
      <footer>
        Every answer says what it covers.
        <span>
          {session.name !== null && <button onClick={signOut}>Sign out {session.name}</button>}
          <a href={`${BASE}docs`}>API</a> <a href={`${BASE}openapi.json`}>OpenAPI</a> <a href={`${BASE}metrics`}>Metrics</a>
        </span>
      </footer>
    </>
  );
}

function Mark() {
  return (
    <svg viewBox="0 0 32 32" aria-hidden="true">
      <rect x="3.5" y="3.5" width="17" height="17" rx="5" />
      <rect className="near" x="11.5" y="11.5" width="17" height="17" rx="5" />
    </svg>
  );
}

function Standing({ feed: { index, isConnected, isBehind } }: { feed: Feed }) {
  const away = index ? Object.entries(index.dependencies).filter(([, isUp]) => !isUp).map(([name]) => name) : [];
  const state = !isConnected ? "lost" : isBehind || away.length ? "partly" : "well";
  return (
    <p className="standing" data-state={state} role="status">
      {!isConnected ? (index ? "Connection lost, trying again …" : "Connecting …") : (
        <>
          <b>{index ? count(index.count) : "…"}</b> images
          {isBehind && <> · catching up …</>}
          {away.length > 0 && <> · {away.join(" and ")} away</>}
        </>
      )}
    </p>
  );
}
