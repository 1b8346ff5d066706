"""The span of a record on its way to Kafka."""

from concurrent.futures import Future
from typing import TypeVar

from contract.origin import Origin
from runtime.tracing import TRACING

T = TypeVar("T")


def followed(future: Future[T], origin: Origin) -> Origin:
    """The origin of a record, which where traces are on belongs to a span that ends with its confirmation."""
    span = TRACING.begin("send image", parent=origin.traceparent, kind="producer")
    if span is None:
        return origin
    future.add_done_callback(lambda settled: span.end(failure=str(settled.exception() or "")))
    return origin._replace(traceparent=span.traceparent)
