"""Feed rows that cannot be used: they are set aside, with a reason, and everything behind them goes on."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from contract.errors import RejectedError
from contract.messages import check_image_id
from contract.record_key import RecordKey
from gallery.generations.flattened import is_metadata
from gallery.store.rows import FeedRow

NO_OUTCOME = "unknown-outcome"
NO_REASON = "no-reason"
NO_TIME = "no-time"
BAD_ID = "bad-id"
NO_EMBEDDING = "no-embedding"
BAD_LENGTH = "embedding-length"
NOT_FINITE = "embedding-not-finite"
BAD_METADATA = "bad-metadata"
REASONS = (NO_OUTCOME, NO_REASON, NO_TIME, BAD_ID, NO_EMBEDDING, BAD_LENGTH, NOT_FINITE, BAD_METADATA)

# Ids remembered as not shown at their newest: they are in every manifest, so their number is bounded.
NOT_SHOWN_MAX = 1000


def why_unusable(row: FeedRow, dimensions: int) -> str:
    """The reason for which a row must be set aside; "" for a good one."""
    if row.kafka_time_ms < 0:
        return NO_TIME
    if row.outcome == "gap":
        return ""
    if row.outcome == "reject":
        return "" if row.reason.split() else NO_REASON
    if row.outcome not in ("put", "delete"):
        return NO_OUTCOME
    if not is_id(row.image_id):
        return BAD_ID
    if row.outcome == "delete":
        return ""
    if row.embedding is None:
        return NO_EMBEDDING
    if len(row.embedding) != dimensions * 4:
        return BAD_LENGTH
    if not np.isfinite(np.frombuffer(row.embedding, "<f4")).all():
        return NOT_FINITE
    return "" if is_metadata(row.metadata or "") else BAD_METADATA


def is_id(image_id: str) -> bool:
    """Whether an image may have this id."""
    try:
        check_image_id(image_id)
    except RejectedError:
        return False
    return True


@dataclass(frozen=True)
class UnusableRow:
    """A feed row that was set aside."""

    key: RecordKey
    image_id: str
    reason: str
    request_id: str = ""


@dataclass
class UnusableRows:
    """What was set aside so far.

    Attributes:
        counts: by reason.
        not_shown: by id, the position and reason of its newest record where that was set aside; at most `NOT_SHOWN_MAX`.
        fresh: those that nobody was told of yet.
    """

    counts: Counter[str] = field(default_factory=Counter)
    not_shown: dict[str, tuple[tuple[int, ...], str]] = field(default_factory=dict)
    fresh: list[UnusableRow] = field(default_factory=list)

    def take(
        self, found: UnusableRow, position: tuple[int, ...], latest: tuple[int, ...] | None, *, shows: bool = True
    ) -> None:
        """Set a row aside.

        Args:
            latest: place of the record that its id means, None when it means none.
            shows: whether the id would mean something else, had the row been good.
        """
        self.counts[found.reason] += 1
        self.fresh.append(found)
        known = self.not_shown.get(found.image_id)
        newer = max((each for each in (latest, known[0] if known else None) if each is not None), default=None)
        if shows and is_id(found.image_id) and (newer is None or position > newer):
            self.not_shown.pop(found.image_id, None)
            self.not_shown[found.image_id] = (position, found.reason)
            if len(self.not_shown) > NOT_SHOWN_MAX:
                self.not_shown.pop(next(iter(self.not_shown)))

    def supersede(self, image_id: str, position: tuple[int, ...]) -> None:
        """Note that a good record stands at `position`."""
        known = self.not_shown.get(image_id)
        if known is not None and position > known[0]:
            del self.not_shown[image_id]

    def tell(self) -> list[UnusableRow]:
        """Those set aside since the last call."""
        told, self.fresh = self.fresh, []
        return told
