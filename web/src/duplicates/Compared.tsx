import { useEffect, useRef } from "react";

import type { DuplicateGroup, DuplicateImage } from "../api/calls";
import { Foreign } from "../text";
import { Comparison } from "../search/Comparison";
import { editsOf } from "../search/words";
import { asMatch } from "./asMatch";

/** An image beside the one that it was compared with, and what was done to one to get the other. */
export function Compared({ image, group: { images }, close }: { image: DuplicateImage; group: DuplicateGroup; close: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current!.showModal(), []);
  const other = images.find(({ id }) => id === image.compared_with) ?? images[0]!;
  const [made, original] = image.made_from_it === false ? [other, image] : [image, other];
  const match = asMatch(image, original);
  const done = image.edits ? editsOf(match) : [];
  return (
    <dialog
      ref={dialog} aria-labelledby="compared-title" onClose={close}
      onClick={(event) => event.target === dialog.current && dialog.current.close()}
    >
      <div className="details">
        <header>
          <h2 id="compared-title"><Foreign text={made.id} max={128} /> and <Foreign text={original.id} max={128} /></h2>
          <button className="close" aria-label="Close" onClick={() => dialog.current!.close()}>×</button>
        </header>
        {done.length > 0 && <div className="verdict"><p>What was done to the second to get the first:</p><ul>{done.map((words) => <li key={words}>{words}</li>)}</ul></div>}
        <Comparison
          query={made.original_url} queryInstead={made.thumbnail_url} querySize={made} result={original.original_url}
          resultInstead={original.thumbnail_url} match={match} names={["First", "Second"]}
        />
      </div>
    </dialog>
  );
}
