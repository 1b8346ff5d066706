import { useEffect, useRef, useState, type ReactNode } from "react";

type Props = { take: (files: File[]) => void; isOver: boolean; isMany?: boolean; children: ReactNode };

// Endings too: not every system knows the types of AVIF and HEIC.
const ACCEPTED = "image/png,image/jpeg,image/webp,image/avif,image/heic,image/gif,image/bmp,image/tiff,.avif,.heic,.heif,.tif,.tiff";

/** The button that opens the file chooser; it lights up while `isOver`. */
export function DropZone({ take, isOver, isMany = false, children }: Props) {
  return (
    <label className="drop" data-over={isOver || undefined}>
      <input
        type="file" multiple={isMany} accept={ACCEPTED}
        onChange={(event) => { take([...(event.target.files ?? [])]); event.target.value = ""; }}
      />
      {children}
    </label>
  );
}

/** Takes files dropped anywhere on the page while `isShown`; whether some are held over it. A browser by itself would leave the page to show them. */
export function useDrops(take: (files: File[]) => void, isShown = true): boolean {
  const [isOver, setOver] = useState(false);
  const newest = useRef({ take, isShown });
  newest.current = { take, isShown };
  useEffect(() => {
    const over = (event: DragEvent) => { event.preventDefault(); setOver(newest.current.isShown); };
    const leave = (event: DragEvent) => { if (!event.relatedTarget) setOver(false); };
    const drop = (event: DragEvent) => {
      event.preventDefault();
      setOver(false);
      const files = [...(event.dataTransfer?.files ?? [])];
      if (files.length && newest.current.isShown) newest.current.take(files);
    };
    addEventListener("dragover", over);
    addEventListener("dragleave", leave);
    addEventListener("drop", drop);
    return () => {
      removeEventListener("dragover", over);
      removeEventListener("dragleave", leave);
      removeEventListener("drop", drop);
    };
  }, []);
  return isOver;
}
