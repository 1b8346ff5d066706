"""Every metric with its unit and meaning, and how a process writes its log."""

import logging
import os
import sys
from pathlib import Path
from typing import Literal, TextIO

import psutil
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from contract.errors import ConfigurationError
from contract.settings import PREFIX

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

IMAGES_ACCEPTED = Counter(
    "lookalike_images_accepted_total", "Images whose feed row was written, by outcome.", ["collection", "outcome"]
)
IMAGES_REJECTED = Counter("lookalike_images_rejected_total", "Records refused, by reason.", ["collection", "reason"])
ROWS_SET_ASIDE = Counter(
    "lookalike_rows_set_aside_total", "Feed rows that cannot be used, by reason.", ["collection", "reason"]
)
RECORDS_EXPIRED = Counter(
    "lookalike_records_expired_total", "Offsets that Kafka expired before they were embedded.", ["collection"]
)
STAGE_SECONDS = Histogram("lookalike_stage_seconds", "Time of one batch in one stage.", ["stage"], buckets=SECONDS)
DEPENDENCY_RETRIES = Counter(
    "lookalike_dependency_retries_total", "Failed calls that were tried again.", ["dependency"]
)
DEPENDENCY_UP = Gauge(
    "lookalike_dependency_up",
    "1 while the last call to the dependency worked.",
    ["dependency"],
    multiprocess_mode="liveall",
)
IS_READY = Gauge(
    "lookalike_ready",
    "1 while the process does its work, 0 while it starts or waits for something.",
    multiprocess_mode="liveall",
)
DEGRADED = Gauge(
    "lookalike_degraded",
    "1 while the process is not ready because of this part.",
    ["part"],
    multiprocess_mode="liveall",
)
STALLED = Gauge(
    "lookalike_stalled",
    "1 while coverage stands still because of this part, though records wait.",
    ["collection", "part"],
    multiprocess_mode="liveall",
)
PARTITIONS = Gauge("lookalike_partitions", "Partitions that this embedder reads.", ["collection"])
CONSUMER_LAG = Gauge(
    "lookalike_consumer_lag_records",
    "Records in Kafka that the index does not cover.",
    ["collection", "partition"],
    multiprocess_mode="livemostrecent",
)
SNAPSHOT_AGE = Gauge(
    "lookalike_snapshot_age_seconds",
    "Time since the served generation was published.",
    ["collection"],
    multiprocess_mode="livemostrecent",
)
GENERATION = Gauge(
    "lookalike_generation",
    "Number of the generation that is served or was published last.",
    ["collection"],
    multiprocess_mode="liveall",
)
INDEX_IMAGES = Gauge("lookalike_index_images", "Images that can be found.", ["collection"], multiprocess_mode="liveall")
TAIL_ENTRIES = Gauge("lookalike_tail_entries", "Entries of the tail.", ["collection"], multiprocess_mode="liveall")
REBUILDS = Counter("lookalike_base_rebuilds_total", "Bases built.", ["collection"])
SEARCH_SECONDS = Histogram(
    "lookalike_search_seconds", "Time of one search request by stage.", ["stage"], buckets=SECONDS
)
RECALL = Gauge(
    "lookalike_recall",
    "Which part of what searches in a table of embeddings should have found they found, over the last ones that were measured.",
    ["collection", "effort"],
    multiprocess_mode="livemostrecent",
)
RECALL_MEASURED = Counter(
    "lookalike_recall_measured_total",
    "Searches whose recall was measured against all rows of their table.",
    ["collection"],
)
FRESHNESS_SECONDS = Histogram(
    "lookalike_freshness_seconds", "From Kafka's timestamp to being searchable here.", ["collection"], buckets=SECONDS
)

REQUESTS_REFUSED = Counter(
    "lookalike_requests_refused_total", "Requests that were let in to no route, by the code of their problem.", ["code"]
)
CONNECTIONS_ENDED = Counter(
    "lookalike_connections_ended_total", "Connections that the API ended or refused, by reason.", ["reason"]
)

WATCHES = Gauge("lookalike_watches", "Watches that the watcher has taken up.")
WATCH_MATCHES = Counter("lookalike_watch_matches_total", "Images that matched a watch and were told.")
AUDIT_CHECKED = Counter(
    "lookalike_audit_checked_total", "Records of the topic that the audit derived again and compared.", ["collection"]
)
AUDIT_MISSING = Gauge(
    "lookalike_audit_missing", "Records of the topic that are not stored or not found.", ["collection"]
)
AUDIT_EXTRA = Gauge("lookalike_audit_extra", "What is stored or found and no record of the topic is.", ["collection"])
AUDIT_DIFFERENT = Gauge("lookalike_audit_different", "Records that are stored or found otherwise.", ["collection"])
AUDIT_ROUND = Gauge(
    "lookalike_audit_round_timestamp_seconds",
    "When the audit had last compared all that Kafka holds, seconds since 1970.",
    ["collection"],
)
WEBHOOKS = Counter("lookalike_webhooks_total", "Attempts to send a match to a webhook, by outcome.", ["outcome"])

_OF_COLLECTIONS = (
    IMAGES_ACCEPTED,
    IMAGES_REJECTED,
    RECORDS_EXPIRED,
    PARTITIONS,
    ROWS_SET_ASIDE,
    STALLED,
    CONSUMER_LAG,
    SNAPSHOT_AGE,
    GENERATION,
    INDEX_IMAGES,
    TAIL_ENTRIES,
    REBUILDS,
    FRESHNESS_SECONDS,
    RECALL,
    RECALL_MEASURED,
    AUDIT_CHECKED,
    AUDIT_MISSING,
    AUDIT_EXTRA,
    AUDIT_DIFFERENT,
    AUDIT_ROUND,
)


# What makes a line of an event, ours or of a library's logger, before it becomes text. What a request was bound to, its id, comes first.
_PROCESSORS: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
]

# prometheus_client's own name. Where it is set before a process starts, that keeps its metrics in files of this folder.
SHARED_DIR = "PROMETHEUS_MULTIPROC_DIR"


def metrics_text() -> bytes:
    """All metrics in Prometheus' text format: of this process, or of all that share a folder.

    Then counters and times are sums, of processes that have ended too, and a gauge has a label `pid`; lag and age are as the
    process that answers has just set them.
    """
    folder = os.environ.get(SHARED_DIR)
    if folder is None:
        return generate_latest()
    for path in Path(folder).glob("gauge_live*_*.db"):
        if not psutil.pid_exists(pid := int(path.stem.rpartition("_")[2])):
            mark_process_dead(pid)  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def forget_collection(name: str) -> None:
    """Drop the series of a collection that this process serves no longer; not where processes share a folder, which cannot."""
    if SHARED_DIR in os.environ:
        return
    for metric in _OF_COLLECTIONS:
        metric.remove_by_labels({"collection": name})


def configure_logging(stream: Literal["stdout", "stderr"] = "stdout") -> None:
    """Write one event a line: key=value on a terminal, JSON elsewhere; to stderr where stdout is for results."""
    renderer: structlog.typing.Processor
    if getattr(sys, stream).isatty():
        renderer = structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"])
    else:
        renderer = structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*_PROCESSORS, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        # Text and newline in one write: `PrintLogger` writes two, between which the line of a library's logger can come.
        logger_factory=lambda *_: structlog.WriteLogger(getattr(sys, stream)),
        cache_logger_on_first_use=False,
    )
    others = _StreamHandler(stream)
    strip = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    others.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_PROCESSORS, processors=[strip, renderer])
    )
    logging.basicConfig(level=logging.WARNING, handlers=[others], force=True)


def serve_metrics(host: str, port: int, setting: str) -> None:
    """Serve this process's metrics; port 0 serves none.

    Raises:
        ConfigurationError: the port is taken; the message names the setting.
    """
    if port:
        try:
            start_http_server(port, addr=host)
        except OSError as error:
            raise ConfigurationError(
                f"{PREFIX}{setting}={port}: {error.strerror}, on {PREFIX}METRICS_HOST={host}. Choose a free port, or 0 for none."
            ) from error


class _StreamHandler(logging.StreamHandler[TextIO]):
    """Writes to what `sys.stdout` or `sys.stderr` is at that moment, as structlog does, not to what it was at start."""

    def __init__(self, name: str) -> None:
        logging.Handler.__init__(self)
        self._stream_name = name

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        found: TextIO = getattr(sys, self._stream_name)
        return found
