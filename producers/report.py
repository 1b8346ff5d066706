"""What became of the images of one run, for people and for programs."""

import json
import uuid
from dataclasses import dataclass, field

from producers.left_out import FOLLOWED, count_kinds, in_words
from producers.outgoing import Failure, LeftOut

_NAMES_SHOWN_MAX = 20


@dataclass
class Report:
    """What became of the images of one run.

    Attributes:
        total: images that there were to publish or delete, None when the source does not know.
        confirmed, deleted: images and deletions that Kafka has confirmed.
        left_out: what is no picture; that is no failure.
        renamed: ids of images that could not have their source's name as id, by that name.
        unconfirmed: names of images that were sent and that Kafka has not confirmed, by their place in the run.
        next_offsets: by partition, the offset behind the last confirmed record.
        stopped_by: why the run ended early, "" when it did not.
        signal: the signal that ended it, 0 for none.
        request_id: carried by every record of the run, and told in the logs of the parts that meet them.
    """

    log: str
    total: int | None = None
    confirmed: int = 0
    deleted: int = 0
    unconfirmed: dict[int, str] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    next_offsets: dict[int, int] = field(default_factory=dict)
    stopped_by: str = ""
    signal: int = 0
    seconds: float = 0.0
    request_id: str = field(default_factory=lambda: f"publish-{uuid.uuid4().hex[:16]}")

    @property
    def is_complete(self) -> bool:
        """Whether every image that there was is in Kafka."""
        return not (self.failures or self.unconfirmed or self.stopped_by)

    @property
    def not_sent(self) -> int | None:
        """Images that the run did not come to; None when nobody knows how many there were."""
        if self.total is None:
            return None
        return self.total - self.confirmed - self.deleted - len(self.unconfirmed) - len(self.failures)

    @property
    def min_offsets(self) -> str:
        """For a search that must see all that was confirmed."""
        return ",".join(f"{partition}:{offset}" for partition, offset in sorted(self.next_offsets.items()))

    @property
    def exit_status(self) -> int:
        """0 all is in Kafka, 1 something is not, 128 + n when signal n ended the run."""
        if self.signal:
            return 128 + self.signal
        return 0 if self.is_complete else 1

    def add(self, later: "Report") -> None:
        """Take over what became of the images of a later run of the same source."""
        self.log = later.log
        self.confirmed += later.confirmed
        self.deleted += later.deleted
        self.failures += later.failures
        self.left_out += later.left_out
        self.renamed |= later.renamed
        self.next_offsets |= later.next_offsets
        self.unconfirmed, self.stopped_by, self.signal = later.unconfirmed, later.stopped_by, later.signal

    def remarks(self, *, verbose: bool = False) -> list[str]:
        """What one should know although nothing went wrong: ids that are not the names; with `verbose` all that is left out."""
        lines = [f"{name!r} cannot be an id: its id is {made!r}." for name, made in self.renamed.items()]
        if len(lines) > _NAMES_SHOWN_MAX and not verbose:
            lines[_NAMES_SHOWN_MAX:] = [
                f"… and {len(lines) - _NAMES_SHOWN_MAX:,} more such names; --verbose lists them."
            ]
        if verbose:
            lines += [f"{each.name!r} was left out ({each.kind}): {each.detail}" for each in self.left_out]
        return lines

    def left_out_in_words(self) -> str:
        """What was left out, by kind, as one sentence; "" when nothing was."""
        if not self.left_out:
            return ""
        counts = count_kinds(self.left_out)
        remedy = "; --follow-links reads what links lead to" if any(kind in counts for kind in FOLLOWED) else ""
        return f"Left out: {in_words(counts)}{remedy}."

    def complaints(self) -> list[str]:
        """One sentence for each thing that went wrong, names quoted, since a file's name may hold anything."""
        lines = [f"{failed.name!r} was not published: {failed.reason}: {failed.detail}" for failed in self.failures]
        names = list(self.unconfirmed.values())
        lines += [f"{name!r} was sent, but Kafka has not confirmed it." for name in names[:_NAMES_SHOWN_MAX]]
        if len(names) > _NAMES_SHOWN_MAX:
            lines.append(f"… and {len(names) - _NAMES_SHOWN_MAX:,} more.")
        if self.stopped_by:
            lines.append(f"Stopped early: {self.stopped_by}. Run it again: what is there already does no harm.")
        return lines

    def as_text(self) -> str:
        """The outcome in up to three lines."""
        counts = [f"{self.confirmed:,} confirmed", f"{len(self.unconfirmed):,} not confirmed"]
        if self.deleted:
            counts.insert(1, f"{self.deleted:,} deleted")
        counts.append(f"{len(self.failures):,} failed")
        if self.not_sent is not None:
            counts.append(f"{self.not_sent:,} not sent")
        lines = [f"{', '.join(counts)}, in {self.seconds:.1f} s, to {self.log}", self.left_out_in_words()]
        if self.next_offsets:
            lines.append(f"To search all of them: min_offsets={self.min_offsets}")
        return "\n".join(filter(None, lines))

    def as_json(self) -> str:
        """The outcome as one line of JSON, in ASCII."""
        return json.dumps(
            {
                "log": self.log,
                "request_id": self.request_id,
                "confirmed": self.confirmed,
                "unconfirmed": list(self.unconfirmed.values()),
                "not_sent": self.not_sent,
                "failed": [vars(failed) for failed in self.failures],
                "deleted": self.deleted,
                "left_out": count_kinds(self.left_out),
                "renamed": self.renamed,
                "min_offsets": self.min_offsets,
                "stopped_by": self.stopped_by,
                "seconds": round(self.seconds, 3),
            }
        )
