"""The journal: what was asked and what was answered, one JSON object a line, written as it happens.

What is sent is noted before it is sent, and what became of it afterwards. So a client that dies leaves a send without an outcome,
which means the same as a timeout: it is not known whether it took effect. Times are seconds of one clock that never goes back.
"""

import threading
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

JOURNAL_FILE = "journal.jsonl"
# What a fault does that sets a clock.
CLOCK_SET = "clock set"

Kind = Literal["put", "delete", "bad"]
State = Literal["confirmed", "refused", "unknown"]


class Run(msgspec.Struct, frozen=True, kw_only=True, tag="run"):
    """What the journal is about.

    Attributes:
        seed: of all chance.
        log: the incarnation of the topic, as coverage names it.
        encoder: name of the encoder.
    """

    seed: int
    topic: str
    log: str
    encoder: str


class Send(msgspec.Struct, frozen=True, kw_only=True, tag="send"):
    """A record that is about to be sent, and what it must mean by how it was made.

    Attributes:
        n: its number; a record of a Kafka client carries it in the header `sent`.
        kind: ``bad`` where it must be rejected, with `reason`.
        image_id: that it speaks of; "" where that cannot be told.
        sha256: of its value in hex, "" for null.
    """

    n: int
    kind: Kind
    image_id: str
    sha256: str
    began_s: float
    reason: str = ""
    metadata: dict[str, Any] = {}


class Outcome(msgspec.Struct, frozen=True, kw_only=True, tag="outcome"):
    """What became of a send: confirmed at a place; refused, so surely not there; or unknown, so it may be there once."""

    n: int
    state: State
    ended_s: float
    partition: int = -1
    offset: int = -1
    why: str = ""


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What is searched for: an encoded image, an embedding, or an id; the two others are None."""

    image: bytes | None = None
    embedding: list[float] | None = None
    image_id: str | None = None


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """One match of an answer. `metadata` is None where the answer has none."""

    id: str
    distance: float
    log: str
    partition: int
    offset: int
    timestamp: int
    metadata: dict[str, Any] | None = None


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer says that it covers."""

    index_id: str
    generation: int
    log: str
    offsets: dict[str, int]
    count: int
    digest: str
    content_digest: str | None = None
    matched: int | None = None

    def facts(self) -> Iterator[tuple[str, Hashable, object]]:
        """What is the same in every answer: the rule that says so, of what, and the fact."""
        yield "generation", (self.index_id, self.generation), (self.offsets, self.count, self.digest)
        if self.content_digest is not None:
            yield "content", frozenset(self.offsets.items()), self.content_digest


class Search(msgspec.Struct, frozen=True, kw_only=True, tag="search"):
    """A search and its answer.

    Attributes:
        n: number of the question.
        client: who asked: one that asks one thing after the other.
        generation: that was asked for; None for the newest.
        status: of HTTP; 0 where none came.
        code: of a problem.
        coverage: of an answer, and of a problem that tells it.
    """

    n: int
    client: str
    query: Query
    began_s: float
    ended_s: float
    status: int
    k: int = 10
    offset: int = 0
    max_distance: float | None = None
    filter: dict[str, Any] | None = None
    as_of: str | None = None
    min_offsets: dict[str, int] = {}
    generation: int | None = None
    code: str = ""
    matches: list[Match] = []
    coverage: Coverage | None = None
    degraded: list[str] = []


class Fetch(msgspec.Struct, frozen=True, kw_only=True, tag="fetch"):
    """The original of a match, asked for by the place of its record; `sha256` in hex of what came with status 200."""

    n: int
    client: str
    image_id: str
    partition: int
    offset: int
    began_s: float
    ended_s: float
    status: int
    code: str = ""
    sha256: str = ""


class Look(msgspec.Struct, frozen=True, kw_only=True, tag="look"):
    """The state of the index, as a client was told it; `rejected` counts records by reason."""

    n: int
    client: str
    began_s: float
    ended_s: float
    coverage: Coverage
    rejected: dict[str, int]


class Watch(msgspec.Struct, frozen=True, kw_only=True, tag="watch"):
    """A watch that was created; `start` is what it was told: by partition, the first offset that counts."""

    id: str
    query: Query
    max_distance: float
    began_s: float
    ended_s: float
    start: dict[str, int]
    filter: dict[str, Any] | None = None


class Unwatch(msgspec.Struct, frozen=True, kw_only=True, tag="unwatch"):
    """A watch that was deleted, or may have been where `is_known` is false."""

    id: str
    began_s: float
    ended_s: float
    is_known: bool = True


class Fault(msgspec.Struct, frozen=True, kw_only=True, tag="fault"):
    """Something was done to a part, such as killing it."""

    part: str
    what: str
    at_s: float


class End(msgspec.Struct, frozen=True, kw_only=True, tag="end"):
    """Nothing more is sent, and everything had the time that it may take; `look` is the last state of the index."""

    look: Look


Event = Run | Send | Outcome | Search | Fetch | Look | Watch | Unwatch | Fault | End


class Journal:
    """Takes events from any thread; each is in the file when `note` returns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("ab")
        self._lock = threading.Lock()
        self._numbers: dict[str, int] = {}
        self._taken_bytes = 0

    def note(self, event: Event) -> None:
        """Write an event."""
        line = msgspec.json.encode(event) + b"\n"
        with self._lock:
            self._file.write(line)
            self._file.flush()

    def take(self) -> Sequence[Event]:
        """All events since this was called last."""
        with self._lock:
            taken = read_journal(self.path, self._taken_bytes)
            self._taken_bytes = self._file.tell()
            return taken

    def number(self, of: str) -> int:
        """The next number of sends, or of questions."""
        with self._lock:
            self._numbers[of] = self._numbers.get(of, -1) + 1
            return self._numbers[of]

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_journal(path: Path, start: int = 0) -> Sequence[Event]:
    """All events of a file from a byte on, in order; a last line that was cut short is left out, since it was never noted."""
    with path.open("rb") as file:
        file.seek(start)
        lines = file.read().split(b"\n")
    decoder = msgspec.json.Decoder(Event)
    return [decoder.decode(line) for line in lines[:-1] if line]


def run_of(events: Sequence[Event]) -> Run:
    """What a journal is about."""
    return next(event for event in events if isinstance(event, Run))
