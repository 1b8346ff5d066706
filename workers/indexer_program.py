"""`lookalike indexer`: runs until it is told to end."""

import signal
import threading
from collections.abc import Sequence

import structlog

from contract import telemetry
from contract.settings import Settings
from gallery.generations.serving import old_layout
from gallery.store.store import Store
from model.encoder import load_encoder
from runtime.credentials import check_credentials
from runtime.memory import collect_rarely
from runtime.priority import give_way_unless_first
from runtime.readiness import READINESS
from runtime.retrying import StoppedError, end_when_a_call_hangs, retrying
from runtime.tracing import TRACING
from workers.indexers import Indexers

logger = structlog.get_logger()


def run(settings: Settings, *, rebuild: bool = False, collections: Sequence[str] = ()) -> int:
    """Index until SIGTERM or SIGINT; returns the exit status.

    Args:
        rebuild: start new indexes from the feeds although the current ones are good.
        collections: names of those to index; none is all that there are and will be.
    """
    check_credentials(settings)
    give_way_unless_first(settings, "images")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    telemetry.serve_metrics(settings.metrics_host, settings.indexer_metrics_port, "INDEXER_METRICS_PORT")
    TRACING.start(settings, "lookalike-indexer")
    READINESS.need("cassandra", "lock")
    end_when_a_call_hangs()
    load_encoder(settings.encoder, settings.encoders_dir)  # without it the process must not start
    if left := old_layout(settings.index_dir):
        logger.warning("index folder of an earlier version", detail=left)
    try:
        store = retrying(lambda: Store.connect(settings), "cassandra", stop)
    except StoppedError:
        return 0
    indexers = Indexers(settings, store, stop, rebuild=rebuild, names=collections)
    try:
        indexers.follow()
        collect_rarely()
        while not stop.wait(indexers.pause_s()):
            indexers.follow()
            indexers.step()
    finally:
        indexers.close()
        store.close()
    return 0
