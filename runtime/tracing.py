"""Traces: one image followed from whoever sent it until it is found, and each request. Off until `TRACING.start` is told where they go.

A place in a trace is a W3C traceparent, as records and rows carry it, so nothing here needs OpenTelemetry while traces are off, and
nothing of it is imported. What a part does with a record has a span whose id follows from the record. So the part that comes next
knows its parent from the row alone, and a step that is done twice gives the same span twice.
"""

import hashlib
import time
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Literal, Protocol

from contract.origin import Origin
from contract.record_key import RecordKey
from contract.settings import Settings

# Of records that are older nobody waits for a trace: an index that is built anew reads all of them.
FOLLOWED_MS = 3_600_000
# Where what is done now belongs: in an API, the request's span.
TRACEPARENT: ContextVar[str] = ContextVar("traceparent", default="")

SpanKindName = Literal["internal", "server", "producer", "consumer"]


class Span(Protocol):
    """Something that goes on."""

    @property
    def traceparent(self) -> str:
        """What belongs to it has this as its parent."""

    def end(
        self,
        *,
        name: str = "",
        failure: str = "",
        attributes: Mapping[str, Any] | None = None,
        end_ns: int | None = None,
    ) -> None:
        """It is over; under another name if one is known by now, and with a failure if it was one."""


class Recorder(Protocol):
    """Takes spans and sends them."""

    def begin(
        self, name: str, *, parent: str, kind: SpanKindName, begin_ns: int, span_id: str, attributes: Mapping[str, Any]
    ) -> Span:
        """Something begins."""

    def close(self) -> None:
        """Send what is left."""


class Tracing:
    """Of one process. Thread-safe once it was started.

    Attributes:
        recorder: None while traces are off: then nobody should do anything for them.
    """

    def __init__(self) -> None:
        self.recorder: Recorder | None = None

    def start(self, settings: Settings, service: str) -> None:
        """Send traces from now on to where the settings say, if they say so; what is left is sent when the process ends."""
        if settings.otlp_endpoint and self.recorder is None:
            from runtime.otlp import OtlpRecorder

            self.recorder = OtlpRecorder(settings.otlp_endpoint, service)

    def stop(self) -> None:
        """Send what is left, in a process that ends without Python's own end."""
        if self.recorder is not None:
            self.recorder.close()

    def follows(self, origin: Origin, kafka_time_ms: int) -> bool:
        """Whether a record is followed: it says where it belongs, and is not old."""
        return (
            self.recorder is not None
            and bool(origin.traceparent)
            and time.time_ns() // 1_000_000 - kafka_time_ms < FOLLOWED_MS
        )

    def begin(
        self,
        name: str,
        *,
        parent: str = "",
        kind: SpanKindName = "internal",
        begin_ns: int | None = None,
        span_id: str = "",
        attributes: Mapping[str, Any] | None = None,
    ) -> Span | None:
        """Something begins; None while traces are off.

        Args:
            parent: traceparent that it belongs to; "" begins a trace.
            begin_ns: when it began, nanoseconds since 1970; now without it.
            span_id: 16 hexadecimal digits; "" for any.
        """
        if self.recorder is None:
            return None
        began_ns = time.time_ns() if begin_ns is None else begin_ns
        return self.recorder.begin(
            name, parent=parent, kind=kind, begin_ns=began_ns, span_id=span_id, attributes=attributes or {}
        )


def span_of(step: str, key: RecordKey, fingerprint: str) -> str:
    """Id of the span in which a step is taken with a record for an encoder."""
    return hashlib.blake2b(f"{step} {fingerprint} {key}".encode(), digest_size=8).hexdigest()


def within(traceparent: str, span_id: str) -> str:
    """The traceparent of what belongs to another span of the same trace."""
    version, trace_id, _, flags = traceparent.split("-")
    return "-".join((version, trace_id, span_id, flags))


def record_attributes(key: RecordKey, image_id: str, collection: str) -> dict[str, Any]:
    """What a span says of the record that it is about."""
    topic, _, _ = key.log.rpartition(":")
    return {
        "messaging.system": "kafka",
        "messaging.destination.name": topic,
        "messaging.destination.partition.id": str(key.partition),
        "messaging.kafka.offset": key.offset,
        "lookalike.collection": collection,
        "lookalike.image.id": image_id,
    }


# Of this process.
TRACING = Tracing()
