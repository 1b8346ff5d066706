"""Where a Kafka record stands."""

from typing import NamedTuple


class RecordKey(NamedTuple):
    """Identifies a Kafka record for ever: nothing else is ever written to its place.

    Attributes:
        log: the topic's incarnation, see `contract.messages.log_of`.
    """

    log: str
    partition: int
    offset: int
