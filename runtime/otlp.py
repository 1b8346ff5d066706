"""Spans sent with OpenTelemetry's SDK over OTLP/HTTP. Imported only where traces are on: see runtime/tracing.py."""

import threading
import time
from collections.abc import Mapping
from typing import Any

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from runtime.tracing import SpanKindName

# A batch of the embedder has up to four spans an image. What is beyond is dropped, and counted by the SDK in a warning.
_WAITING_MAX = 16_384
_SENT_AT_ONCE = 1024
_DELAY_MS = 1000
# So long a process that ends may wait for a collector that is away.
_TIMEOUT_S = 3.0

_KINDS = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}


class OtlpRecorder:
    """Sends spans to one collector in the background. What OpenTelemetry's own variables say beside the address holds too.

    Args:
        endpoint: of the collector, without the path of traces.
        service: this program's name.
    """

    def __init__(self, endpoint: str, service: str) -> None:
        self._ids = _Ids()
        provider = TracerProvider(resource=Resource.create({"service.name": service}), id_generator=self._ids)
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=_TIMEOUT_S)
        provider.add_span_processor(
            BatchSpanProcessor(
                exporter,
                max_queue_size=_WAITING_MAX,
                max_export_batch_size=_SENT_AT_ONCE,
                schedule_delay_millis=_DELAY_MS,
            )
        )
        self._provider = provider
        self._tracer = provider.get_tracer("lookalike")

    def begin(
        self, name: str, *, parent: str, kind: SpanKindName, begin_ns: int, span_id: str, attributes: Mapping[str, Any]
    ) -> "OtlpSpan":
        """Something begins."""
        self._ids.next.span_id = int(span_id, 16) if span_id else None
        span = self._tracer.start_span(
            name, context=_context(parent), kind=_KINDS[kind], start_time=begin_ns, attributes=attributes
        )
        return OtlpSpan(span)

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


class OtlpSpan:
    """A span of the SDK."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def traceparent(self) -> str:
        """What belongs to it has this as its parent."""
        context = self._span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def end(
        self,
        *,
        name: str = "",
        failure: str = "",
        attributes: Mapping[str, Any] | None = None,
        end_ns: int | None = None,
    ) -> None:
        """It is over; under another name if one is known by now, and with a failure if it was one."""
        if name:
            self._span.update_name(name)
        if attributes:
            self._span.set_attributes(attributes)
        if failure:
            self._span.set_status(Status(StatusCode.ERROR, failure))
        self._span.end(time.time_ns() if end_ns is None else end_ns)


class _Ids(RandomIdGenerator):
    """Any ids, but for a span for which this thread has chosen one."""

    def __init__(self) -> None:
        self.next = threading.local()

    def generate_span_id(self) -> int:
        chosen: int | None = getattr(self.next, "span_id", None)
        self.next.span_id = None
        return super().generate_span_id() if chosen is None else chosen


def _context(traceparent: str) -> Any:
    """The SDK's context of a place in a trace; an empty one begins a trace."""
    if not traceparent:
        return trace.set_span_in_context(trace.INVALID_SPAN)
    _, trace_id, span_id, flags = traceparent.split("-")
    parent = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
    return trace.set_span_in_context(NonRecordingSpan(parent))
