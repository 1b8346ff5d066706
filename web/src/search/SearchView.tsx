import { useState } from "react";

import type { Place } from "../address";
import { type Match, type Question, type Sort } from "../api/calls";
import { Foreign } from "../text";
import { Ask } from "./Ask";
import { Details } from "./Details";
import { usePicture } from "./picture";
import { Results } from "./Results";
import { useSearch } from "./useSearch";

const SORTS: [Sort, string][] = [
  ["best", "Nearest first"], ["biggest", "Biggest first"], ["newest", "Newest first"], ["oldest", "Oldest first"], ["most_changed", "Most changed first"],
];

type Props = { place: Place; ask: (question: Question, replace?: boolean) => void; setK: (k: number) => void };

export function SearchView({ place: { question, k }, ask, setK }: Props) {
  const [sort, setSort] = useState<Sort>("best");
  const { found, problem, isSearching, again } = useSearch(question, k, sort);
  const [opened, setOpened] = useState<Match | null>(null);
  const picture = usePicture(question);
  const isBusy = isSearching || (question !== null && !problem && found?.question !== question);
  return (
    <div className="search">
      <h1 className="unseen">Search by image</h1>
      <Ask ask={ask} picture={picture} question={question} />
      <section className="answer" aria-label="Neighbours" aria-busy={isBusy}>
        <div className="line">
          <p role="status" className="asked">
            {problem ? "" : question
              ? <>Nearest to <b>{question.kind === "id" ? <Foreign text={question.id} max={60} /> : <Foreign text={question.name} max={60} />}</b></>
              : "Nothing asked yet"}
          </p>
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
        {found && !problem && <Results found={found} open={setOpened} />}
        {!question && <Welcome />}
      </section>
      {opened && (
        <Details
          match={opened} question={question} k={k} picture={picture} close={() => setOpened(null)} removed={again}
          ask={(next) => { setOpened(null); ask(next); }}
        />
      )}
    </div>
  );
}

function Welcome() {
  return (
    <div className="welcome">
      <p>Show it a picture, and see what looks alike.</p>
      <p className="hint">
        Draw a digit, choose or drop an image, paste one, or begin with a sample. Every answer is exact, and says how many
        images it covers.
      </p>
    </div>
  );
}
