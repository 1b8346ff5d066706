import { useEffect, useId, useState, type FormEvent } from "react";

import { createWatch, type Watchable } from "../api/calls";
import { asRefusal, type Found } from "../search/useSearch";
import { Foreign } from "../text";

const NAME_MAX = 200;

/** Makes a watch of the search that is shown: whoever asks for it is told of every image that is as near. */
export function TellMe({ found, show }: { found: Found; show: () => void }) {
  const [isOpen, setOpen] = useState(false);
  const [state, setState] = useState<"asking" | "sending" | "done">("asking");
  const [problem, setProblem] = useState("");
  const question = found.question;
  useEffect(() => { setOpen(false); setState("asking"); setProblem(""); }, [question]);
  const ids = useId();
  const send = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    if (question.kind === "address") return;
    const form = new FormData(event.currentTarget);
    setState("sending");
    setProblem("");
    createWatch(question, Number(form.get("distance")), String(form.get("name"))).then(
      () => setState("done"),
      (error: unknown) => { setState("asking"); setProblem(asRefusal(error).message); },
    );
  };
  // An address is asked once, for one answer: nothing of it is kept.
  if (question.kind === "address") return null;
  if (state === "done") {
    return (
      <p className="tell" role="status">
        You will be told of images that come from now on. <button className="link" onClick={show}>See your watches</button>
      </p>
    );
  }
  if (!isOpen) return <p className="tell"><button onClick={() => setOpen(true)}>Tell me when such an image comes</button></p>;
  return (
    <form className="tell card" onSubmit={send} aria-label="Tell me">
      <label htmlFor={`${ids}name`}>Name</label>
      <input id={`${ids}name`} name="name" maxLength={NAME_MAX} defaultValue={nameOf(question)} autoFocus />
      <label htmlFor={`${ids}distance`}>Distance at most</label>
      <input id={`${ids}distance`} name="distance" type="number" min={0} step="any" required defaultValue={sensible(found)} />
      <span>
        <button className="main" disabled={state === "sending"}>Tell me</button>{" "}
        <button type="button" onClick={() => setOpen(false)}>Cancel</button>
      </span>
      {problem && <p className="problem" role="alert"><Foreign text={problem} /></p>}
    </form>
  );
}

const nameOf = (question: Watchable): string => (question.kind === "id" ? question.id : question.name).slice(0, NAME_MAX);

/** As near as the farthest copy that is shown; without one as the nearest that is not the same picture. */
export function sensible({ answer: { matches } }: Pick<Found, "answer">): number {
  const copies = matches.filter(({ verdict }) => verdict && verdict !== "similar").map(({ distance }) => distance);
  const others = matches.map(({ distance }) => distance).filter((distance) => distance > 0);
  const reach = Math.max(0, ...copies) || Math.min(...others, Infinity);
  return Number.isFinite(reach) ? Math.ceil(reach * 1000) / 1000 : 1;
}
