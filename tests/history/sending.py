"""Records on their way to Kafka, and what became of each, noted: sent with a plain producer, or through a function."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaException, Producer

from tests.history.journal import Journal, Outcome, Send, State
from tests.history.load import Made


class Sender:
    """Sends records with a plain Kafka producer, and notes what became of each.

    Args:
        more: settings of that producer.
    """

    def __init__(self, journal: Journal, bootstrap: str, topic: str, more: Mapping[str, object] | None = None) -> None:
        self._journal = journal
        self._topic = topic
        self._settings = {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "message.max.bytes": 36 * 1024 * 1024,
            "linger.ms": 1,
            # Longer than a broker is away: once it has given up some records, librdkafka may send others twice.
            "delivery.timeout.ms": 300_000,
            "log_level": 0,  # that a broker is away is what is tried
            **(more or {}),
        }
        self._producer = Producer(self._settings)

    def send(self, made: Made, then: Callable[[Outcome], None] = lambda _: None) -> None:
        """Send a record; `then` is called from `poll` or `flush` with what became of it."""
        send = noted(self._journal, made)
        headers = headers_of(made, send.n)

        def delivered(error: Any, message: Any) -> None:
            if error is None:
                then(ended(self._journal, send, "confirmed", message.partition(), message.offset()))
            else:
                then(ended(self._journal, send, "unknown", why=str(error)))

        try:
            self._producer.produce(
                self._topic, key=made.key, value=made.value, headers=list(headers.items()), on_delivery=delivered
            )
        except BufferError as error:
            then(ended(self._journal, send, "refused", why=str(error)))
        except KafkaException as error:
            # A producer that has failed for good; what it had not sent yet stays unknown.
            then(ended(self._journal, send, "refused", why=str(error)))
            self._producer = Producer(self._settings)

    def poll(self, timeout_s: float = 0.0) -> None:
        """Take note of what was confirmed."""
        self._producer.poll(timeout_s)

    def flush(self, timeout_s: float = 60.0) -> int:
        """Wait until everything is confirmed or given up; how many are not."""
        return int(self._producer.flush(timeout_s))


def headers_of(made: Made, number: int) -> dict[str, bytes]:
    """The headers that a record carries; `sent` is for the judge alone."""
    headers = {"sent": str(number).encode()}
    return headers if made.header is None else {**headers, "metadata": made.header}


def send_to(journal: Journal, made: Made, append: Callable[[Made, int], tuple[int, int]]) -> Outcome:
    """Send through a function that takes record and number and returns partition and offset."""
    send = noted(journal, made)
    return ended(journal, send, "confirmed", *append(made, send.n))


def noted(journal: Journal, made: Made) -> Send:
    """Note that a record is about to be sent."""
    send = Send(
        n=journal.number("send"),
        kind=made.kind,
        image_id=made.image_id,
        sha256=made.sha256,
        began_s=time.monotonic(),
        reason=made.reason,
        metadata=made.metadata,
    )
    journal.note(send)
    return send


def ended(
    journal: Journal, send: Send, state: State, partition: int = -1, offset: int = -1, *, why: str = ""
) -> Outcome:
    """Note what became of it."""
    outcome = Outcome(n=send.n, state=state, ended_s=time.monotonic(), partition=partition, offset=offset, why=why)
    journal.note(outcome)
    return outcome
