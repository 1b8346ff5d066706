import { useState, type KeyboardEvent } from "react";

import { forgetApart, keepApart, remove, type DistinctSet, type DuplicateClass, type DuplicateGroup, type DuplicateImage, type Question } from "../api/calls";
import { asRefusal } from "../search/useSearch";
import { count, Foreign } from "../text";
import { Compared } from "./Compared";
import { Confirm } from "./Confirm";
import { Group } from "./Group";
import { Standing } from "./Standing";
import { useDuplicates } from "./useDuplicates";

const CLASSES: [DuplicateClass, string][] = [
  ["same bytes", "Same bytes"], ["same pixels", "Same pixels"], ["altered copy", "Altered copies"], ["near", "Near"],
];
const STEPS: Record<string, number> = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 };

/** What is there more than once: marked to be deleted with one key each, and deleted all together once that was confirmed. */
export function DuplicatesView({ ask }: { ask: (question: Question) => void }) {
  const [kind, setKind] = useState<DuplicateClass | undefined>();
  const { answer, groups, problem, isLoading, more, again } = useDuplicates(kind);
  const [marked, setMarked] = useState<ReadonlySet<string>>(new Set());
  const [isSure, setIsSure] = useState(false);
  const [apart, setApart] = useState<DistinctSet | null>(null);
  const [compared, setCompared] = useState<{ image: DuplicateImage; group: DuplicateGroup } | null>(null);
  const [failure, setFailure] = useState("");

  const mark = (ids: readonly string[], isMarked: boolean) =>
    setMarked((before) => new Set(isMarked ? [...before, ...ids] : [...before].filter((id) => !ids.includes(id))));
  const attempt = async (doing: () => Promise<void>) => {
    setFailure("");
    try { await doing(); } catch (error) { setFailure(asRefusal(error).message); }
  };
  const keep = ({ images }: DuplicateGroup) => attempt(async () => {
    setApart(await keepApart(images));
    await again();
    focusOn(0);
  });
  const forget = () => attempt(async () => {
    if (apart) await forgetApart(apart);
    setApart(null);
    await again();
  });
  const removeMarked = () => attempt(async () => {
    setIsSure(false);
    let minOffsets = "";
    for (const id of marked) {
      minOffsets = [minOffsets, (await remove(id)).min_offsets].filter(Boolean).join(",");
      mark([id], false);
    }
    await again({ minOffsets });
  });
  const press = (event: KeyboardEvent<HTMLElement>) => {
    const at = (event.target as HTMLElement).closest<HTMLElement>("[data-image]");
    if (!at || event.ctrlKey || event.metaKey || event.altKey) return;
    const [number, place] = at.dataset["image"]!.split(":").map(Number) as [number, number];
    const group = groups.find((each) => each.group === number)!;
    const all = [...document.querySelectorAll<HTMLElement>("[data-image]")];
    const step = STEPS[event.key];
    if (step) all[all.indexOf(at) + step]?.focus();
    else if (event.key === "d" || event.key === "Delete") mark([group.images[place]!.id], true);
    else if (event.key === "k") mark([group.images[place]!.id], false);
    else if (event.key === "c") setCompared({ group, image: group.images[place]! });
    else if (event.key === "n") void keep(group);
    else return;
    event.preventDefault();
  };
  const lost = groups.filter(({ images, count }) => images.length === count && images.every(({ id }) => marked.has(id))).length;

  return (
    <div className="duplicates">
      <h1>Duplicates</h1>
      <Standing answer={answer} search={() => void again({ refresh: true })} />
      {answer?.run && (
        <fieldset className="classes">
          <legend className="unseen">Class</legend>
          <Class name="All" value={undefined} chosen={kind} choose={setKind} />
          {CLASSES.map(([value, name]) => (
            <Class key={value} name={`${name} ${count(answer.run!.classes[value]?.groups ?? 0)}`} value={value} chosen={kind} choose={setKind} />
          ))}
        </fieldset>
      )}
      <p className="hint">
        The best image of each group comes first. On an image: <kbd>d</kbd> marks it to be deleted, <kbd>k</kbd> keeps it, <kbd>c</kbd> compares
        it, <kbd>n</kbd> says that the group is none; arrows go on.
      </p>
      {(problem || failure) && <p className="problem" role="alert"><Foreign text={failure || problem!.message} /></p>}
      {apart && (
        <p className="told" role="status">
          Remembered: {count(apart.images.length)} images are no duplicates. <button onClick={() => void forget()}>Undo</button>
        </p>
      )}
      <div aria-busy={isLoading} onKeyDown={press}>
        {groups.map((group) => (
          <Group
            key={`${answer?.run?.run} ${group.group}`} group={group} marked={marked} mark={mark} keep={() => void keep(group)}
            compare={(image) => setCompared({ group, image })} ask={ask}
          />
        ))}
      </div>
      {answer?.run && !groups.length && !isLoading && <p className="welcome">Nothing here is there twice.</p>}
      {answer?.next && <button className="more" disabled={isLoading} onClick={more}>More groups</button>}
      {marked.size > 0 && (
        <div className="marked" role="status">
          <span>{count(marked.size)} marked</span>
          <button onClick={() => setMarked(new Set())}>Keep all</button>
          <button className="main" onClick={() => setIsSure(true)}>Delete {count(marked.size)} …</button>
        </div>
      )}
      {isSure && <Confirm images={marked.size} lost={lost} confirm={() => void removeMarked()} close={() => setIsSure(false)} />}
      {compared && <Compared {...compared} close={() => setCompared(null)} />}
    </div>
  );
}

type ClassProps = { name: string; value: DuplicateClass | undefined; chosen: DuplicateClass | undefined; choose: (value: DuplicateClass | undefined) => void };

function Class({ name, value, chosen, choose }: ClassProps) {
  return <label><input type="radio" name="class" checked={chosen === value} onChange={() => choose(value)} /> {name}</label>;
}

const focusOn = (place: number): void => document.querySelectorAll<HTMLElement>("[data-image]")[place]?.focus();
