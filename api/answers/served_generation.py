"""What a question is answered from."""

from collections.abc import Sequence
from dataclasses import dataclass

from api.answers.queries import QueryEncoder
from gallery.table.snapshot import AnySnapshot
from topics.offsets import EndOffsets


@dataclass(frozen=True, kw_only=True)
class ServedGeneration:
    """The generation that a question is answered from, and what was known beside it.

    Attributes:
        collection: the name of the one that was asked.
        queries: makes queries with the encoder whose embeddings `snapshot` holds.
        ends: where Kafka's partitions end; None while unknown.
        stalled_parts: the part that lets coverage stand still, or none.
    """

    collection: str
    snapshot: AnySnapshot
    queries: QueryEncoder
    ends: EndOffsets | None
    stalled_parts: Sequence[str]
