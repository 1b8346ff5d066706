import { useState, type ReactNode } from "react";

type Props = { take: (files: File[]) => void; isMany?: boolean; children: ReactNode };

// Endings too: not every system knows the types of AVIF and HEIC.
const ACCEPTED = "image/png,image/jpeg,image/webp,image/avif,image/heic,image/gif,image/bmp,image/tiff,.avif,.heic,.heif,.tif,.tiff";

/** A place to drop images on; it is also the button that opens the file chooser. */
export function DropZone({ take, isMany = false, children }: Props) {
  const [isOver, setOver] = useState(false);
  return (
    <label
      className="drop" data-over={isOver || undefined}
      onDragOver={(event) => { event.preventDefault(); setOver(true); }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => { event.preventDefault(); setOver(false); take([...event.dataTransfer.files]); }}
    >
      <input
        type="file" multiple={isMany} accept={ACCEPTED}
        onChange={(event) => { take([...(event.target.files ?? [])]); event.target.value = ""; }}
      />
      {children}
    </label>
  );
}
