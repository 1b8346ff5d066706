import { useState } from "react";

import type { Place } from "../address";
import type { Collection, Effort, IndexAnswer, Match, Question, Sort } from "../api/calls";
import { Empty } from "../collections/Switch";
import { Foreign } from "../text";
import { TellMe } from "../watches/TellMe";
import { Ask } from "./Ask";
import { Details } from "./Details";
import { usePicture } from "./picture";
import { Results } from "./Results";
import { isSame, useExplained } from "./useExplained";
import { useSearch } from "./useSearch";

const SORTS: [Sort, string][] = [
  ["best", "Nearest first"], ["biggest", "Biggest first"], ["newest", "Newest first"], ["oldest", "Oldest first"], ["most_changed", "Most changed first"],
];

type Props = {
  place: Place; index: IndexAnswer | null; collections: Collection[] | null;
  ask: (question: Question, replace?: boolean) => void; add: () => void; setK: (k: number) => void; setEffort: (effort: Effort) => void;
  showWatches: () => void;
};

export function SearchView({ place: { question, k, effort }, index, collections, ask, add, setK, setEffort, showWatches }: Props) {
  const [sort, setSort] = useState<Sort>("best");
  const { found: answered, problem, isSearching, again } = useSearch(question, k, sort, effort);
  const [opened, setOpened] = useState<Match | null>(null);
  const isExact = index?.engine !== "cassandra";
  const knowsDrawings = index?.encoder.knows_drawings ?? true;
  // Of photographs it is half of the answer; while one draws, it would only keep the service busy.
  const { found, isAsking } = useExplained(answered, opened !== null || effort === "thorough" || !knowsDrawings);
  const query = usePicture(question);
  const isBusy = isSearching || (question !== null && !problem && (answered?.question !== question || answered.effort !== effort));
  return (
    <div className="search">
      <h1 className="unseen">Search by image</h1>
      <Ask ask={ask} index={index} query={query} question={question} found={found?.question === question ? found : null} />
      <section className="answer" aria-label="Neighbours" aria-busy={isBusy}>
        <div className="line">
          <p role="status" className="asked">
            {problem ? "" : question
              ? <>Nearest to <b><Foreign text={nameOf(question)} max={60} /></b></>
              : "Nothing asked yet"}
          </p>
          <Efforts effort={effort} setEffort={setEffort} isExact={isExact} />
          <label className="sort">
            <span className="unseen">Order</span>
            <select value={sort} onChange={(event) => setSort(event.target.value as Sort)}>
              {SORTS.map(([value, name]) => <option key={value} value={value}>{name}</option>)}
            </select>
          </label>
          <label className="k">
            Neighbours <output>{k}</output>
            <input type="range" min={1} max={100} value={k} onChange={(event) => setK(event.target.valueAsNumber)} />
          </label>
        </div>
        {problem && (
          <div className="problem" role="alert">
            <p><b>{problem.code}</b> <Foreign text={problem.message} /></p>
            <button onClick={again}>Try again</button>
          </div>
        )}
        {found && !problem && <Results found={found} index={index} open={setOpened} />}
        {found && !problem && found.question === question && <TellMe found={found} show={showWatches} />}
        {!question && (index?.count === 0 ? <Empty collections={collections} add={add} /> : <Welcome knowsDrawings={knowsDrawings} isExact={isExact} />)}
      </section>
      {opened && found && (
        <Details
          match={found.answer.matches.find((match) => isSame(match, opened)) ?? opened} isAsking={isAsking} open={setOpened}
          found={found} query={query} close={() => setOpened(null)} removed={again}
          ask={(next) => { setOpened(null); ask(next); }}
        />
      )}
    </div>
  );
}

function nameOf(question: Question): string {
  if (question.kind === "id") return question.id;
  return question.kind === "image" ? question.name : question.url;
}

const EFFORTS: [Effort, string, string][] = [
  ["normal", "Normal", "Looks at about the 128 nearest images"],
  ["high", "High", "Looks at about the 512 nearest images, so that fewer are missed: slower"],
  ["thorough", "Thorough", "Also looks for your image turned, mirrored, as a negative, and for parts of it: slower"],
];

/** How much is done for an answer. Where every answer is exact, there is nothing between normal and thorough. */
function Efforts({ effort, setEffort, isExact }: { effort: Effort; setEffort: (effort: Effort) => void; isExact: boolean }) {
  if (isExact) {
    return (
      <label className="effort" title={EFFORTS[2]![2]}>
        <input type="checkbox" role="switch" checked={effort === "thorough"} onChange={(event) => setEffort(event.target.checked ? "thorough" : "normal")} />
        Thorough
      </label>
    );
  }
  return (
    <label className="effort" title={EFFORTS.find(([value]) => value === effort)?.[2]}>
      <span className="unseen">Effort</span>
      <select value={effort} onChange={(event) => setEffort(event.target.value as Effort)}>
        {EFFORTS.map(([value, name, title]) => <option key={value} value={value} title={title}>{name}</option>)}
      </select>
    </label>
  );
}

function Welcome({ knowsDrawings, isExact }: { knowsDrawings: boolean; isExact: boolean }) {
  return (
    <div className="welcome">
      <p>Show it a picture, and see what looks alike.</p>
      <p className="hint">
        {knowsDrawings ? "Draw a digit, choose or drop an image, paste one, or begin with a sample." : "Choose a photograph, drop it anywhere on this page, paste it, or begin with one that has just come in."}
        {" "}{isExact ? "Every answer is exact, and says how many images it covers." : "An answer has nearly all of the nearest images, and says how many it covers."}
      </p>
    </div>
  );
}
