"""Where the time of a search went: in metrics, and where traces are on in spans."""

import time
from dataclasses import fields

from api.answers.search import Timing
from contract.telemetry import SEARCH_SECONDS
from runtime.tracing import TRACEPARENT, TRACING

EXPLAIN_SECONDS = SEARCH_SECONDS.labels("explain")
_STAGE_SECONDS = {field.name: SEARCH_SECONDS.labels(field.name) for field in fields(Timing)}
# In this order.
_SPANS = ("decode", "encode", "search", "lookup")


def observe(timing: Timing, began_s: float) -> None:
    """Tell of one search.

    Args:
        began_s: when its request came, by `time.perf_counter`.
    """
    for stage, seconds in _STAGE_SECONDS.items():
        seconds.observe(getattr(timing, stage) / 1000)
    if TRACING.recorder is None:
        return
    begin_ns = time.time_ns() - round((time.perf_counter() - began_s) * 1e9)
    for stage in _SPANS:
        # One after the other: what lies between them is waiting, which is not measured.
        end_ns = begin_ns + round(getattr(timing, stage) * 1e6)
        if end_ns > begin_ns:
            span = TRACING.begin(stage, parent=TRACEPARENT.get(), begin_ns=begin_ns)
            assert span is not None
            span.end(end_ns=end_ns)
        begin_ns = end_ns
