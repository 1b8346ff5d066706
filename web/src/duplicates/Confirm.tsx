import { useEffect, useRef } from "react";

import { count } from "../text";

type Props = { images: number; lost: number; confirm: () => void; close: () => void };

/** Asks once more, since what is deleted is gone for everybody; says which groups would lose all their images. */
export function Confirm({ images, lost, confirm, close }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current!.showModal(), []);
  return (
    <dialog ref={dialog} className="confirm" aria-labelledby="confirm-title" onClose={close}>
      <div className="details">
        <h2 id="confirm-title">Delete {count(images)} {images === 1 ? "image" : "images"}?</h2>
        <p>They are deleted for everybody who searches here.</p>
        {lost > 0 && <p className="problem">Of {count(lost)} {lost === 1 ? "group" : "groups"} nothing would be left: the best image is marked too.</p>}
        <footer>
          <button onClick={() => dialog.current!.close()}>Keep them</button>
          <button className="danger" onClick={confirm}>Delete</button>
        </footer>
      </div>
    </dialog>
  );
}
