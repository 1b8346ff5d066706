import type { DuplicateGroup, DuplicateImage, Question } from "../api/calls";
import { Picture } from "../Picture";
import { caption, count, date, Foreign, size } from "../text";
import { editsOf } from "../search/words";
import { asMatch } from "./asMatch";

type Props = {
  group: DuplicateGroup; marked: ReadonlySet<string>; mark: (ids: readonly string[], isMarked: boolean) => void;
  keep: () => void; compare: (image: DuplicateImage) => void; ask: (question: Question) => void;
};

const NAMES = { "same bytes": "Same bytes", "same pixels": "Same pixels", "altered copy": "Altered copies", near: "Near one another" };

/** Images side by side, the best one first; each is a switch that marks it to be deleted. */
export function Group({ group, marked, mark, keep, compare, ask }: Props) {
  const { images } = group;
  const others = images.slice(1).map(({ id }) => id);
  const title = `group-${group.group}`;
  return (
    <section className="card twins" aria-labelledby={title}>
      <header>
        <h2 id={title}>{NAMES[group.class]}, {count(group.count)} images<span className="unseen"> like {images[0]!.id}</span></h2>
        <button onClick={() => mark(others, !others.every((id) => marked.has(id)))}>Mark all but the best</button>
        <button onClick={keep}>Not duplicates</button>
      </header>
      <ul>
        {images.map((image, place) => (
          <li key={image.id} data-marked={marked.has(image.id) || undefined}>
            <Twin image={image} isBest={place === 0} at={`${group.group}:${place}`} isMarked={marked.has(image.id)} toggle={() => mark([image.id], !marked.has(image.id))} />
            <p className="doing">
              {place > 0 && <button className="link" onClick={() => compare(image)}>Compare<span className="unseen"> {image.id}</span></button>}
              <button className="link" onClick={() => ask({ kind: "id", id: image.id })}>Search<span className="unseen"> {image.id}</span></button>
            </p>
          </li>
        ))}
      </ul>
      {group.count > images.length && <p className="hint">{count(images.length)} of {count(group.count)} are shown.</p>}
    </section>
  );
}

function Twin({ image, isBest, at, isMarked, toggle }: { image: DuplicateImage; isBest: boolean; at: string; isMarked: boolean; toggle: () => void }) {
  const done = image.edits ? editsOf(asMatch(image)) : [];
  return (
    <button className="twin" title={image.id} data-image={at} aria-pressed={isMarked} onClick={toggle}>
      <span className="frame">
        <Picture src={image.thumbnail_url} />
        <span className="marks">
          {isMarked ? <span className="gone">to be deleted</span> : isBest && <span className="same">best</span>}
        </span>
      </span>
      <span className="caption"><Foreign text={caption(image.id, image.metadata)} max={60} /></span>
      <small>{image.width} × {image.height}, {size(image.size_bytes)}</small>
      <small>{date(image.source.timestamp)}</small>
      {done.length > 0 && <small className="edits">{image.made_from_it ? done.join(", ") : `the other was made of it: ${done.join(", ")}`}</small>}
    </button>
  );
}
