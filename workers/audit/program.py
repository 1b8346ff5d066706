"""The audit's process: goes round what Kafka holds of all collections, slowly, and tells of every difference. One audits, others stand by."""

import random
import signal
import threading
import time
from collections import deque

import structlog
from prometheus_client import Gauge

from contract import telemetry
from contract.collections import Collection, served_collections, settings_of
from contract.errors import ConfigurationError, DependencyError, IndexDamagedError, TopicReplacedError
from contract.settings import Settings
from gallery.generations.serving import ServingFile
from gallery.generations.writer import lock_index
from gallery.store.store import Store
from model.encoder import load_encoder
from model.pictures.decoder import Decoder
from runtime.credentials import check_credentials
from runtime.memory import collect_rarely
from runtime.priority import BACKGROUND, give_way
from runtime.readiness import READINESS
from runtime.retrying import StoppedError, call_watched, end_when_a_call_hangs, retrying
from workers.audit.collection import ComparedCollection
from workers.audit.comparing import Finding, FindingKind
from workers.audit.verifying import confirmed

# So few that a step takes well under a second, even of photographs.
STRETCH_RECORDS = 32
# Of a collection; where more is wrong, a whole feed or index is, and what is left over stands for it.
FOUND_MAX = 10_000
_REGISTRY_INTERVAL_S = 5.0
_PAUSE_S_MIN = 0.2
# Between two rounds of a collection that is small.
_ROUND_PAUSE_S = 10.0
_FAILED_S = 10.0
_COUNTED: dict[FindingKind, Gauge] = {
    "missing": telemetry.AUDIT_MISSING,
    "extra": telemetry.AUDIT_EXTRA,
    "different": telemetry.AUDIT_DIFFERENT,
}

logger = structlog.get_logger()


def run(settings: Settings) -> int:
    """Audit until SIGTERM or SIGINT; returns the exit status."""
    check_credentials(settings)
    give_way(BACKGROUND)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    telemetry.serve_metrics(settings.metrics_host, settings.audit_metrics_port, "AUDIT_METRICS_PORT")
    READINESS.need("cassandra", "lock")
    end_when_a_call_hangs()
    if not _wait_for_lock(settings, stop):
        return 0
    READINESS.note("lock", is_good=True)
    try:
        store = retrying(lambda: Store.connect(settings), "cassandra", stop)
        audit = Audit(settings, store, stop)
        collect_rarely()
        logger.info("auditing", share=settings.audit_share)
        if not settings.audit_share:
            stop.wait()
        while not stop.is_set():
            began = time.monotonic()
            retrying(audit.step, "cassandra", stop)
            worked_s = time.monotonic() - began
            stop.wait(max(_PAUSE_S_MIN, worked_s * (1 / settings.audit_share - 1)))
    except StoppedError:
        return 0
    audit.close()
    store.close()
    return 0


class Audit:
    """All collections, each for a stretch at a time.

    Args:
        chance: says which stretch is next, so that what was checked of a round is a sample of the whole.
    """

    def __init__(
        self, settings: Settings, store: Store, stop: threading.Event, chance: random.Random | None = None
    ) -> None:
        self._settings, self._store, self._stop = settings, store, stop
        self._chance = chance or random.Random()
        self._decoders: dict[str, Decoder] = {}
        self._collections: dict[Collection, AuditedCollection] = {}
        self._turns: deque[Collection] = deque()
        self._read = float("-inf")

    def step(self) -> None:
        """Check a stretch of one collection, if there is one whose turn it is.

        Raises:
            DependencyError: the registry cannot be read.
        """
        if time.monotonic() - self._read >= _REGISTRY_INTERVAL_S:
            self._follow_registry()
            self._read = time.monotonic()
        for _ in range(len(self._turns)):
            self._turns.rotate(-1)
            audited = self._collections[self._turns[0]]
            if audited.due_s <= time.monotonic():
                audited.guarded_step()
                return

    def close(self) -> None:
        """Let go of everything."""
        for audited in self._collections.values():
            audited.close()
        for decoder in self._decoders.values():
            decoder.close()

    def _follow_registry(self) -> None:
        found = set(served_collections(self._settings, self._store.registry.collections()).values())
        # Which engine answers is no part of what a collection is, but of what is audited.
        engines = {collection: collection.engine for collection in found}
        for collection in list(self._collections):
            if engines.get(collection) != self._collections[collection].engine:
                self._collections.pop(collection).close()
                telemetry.forget_collection(collection.name)
        for collection in found - self._collections.keys():
            self._collections[collection] = AuditedCollection(
                self._settings, collection, self._store, self._decoders, self._chance, self._stop
            )
        self._turns = deque(sorted(found, key=lambda each: each.name)) if set(self._turns) != found else self._turns


class AuditedCollection:
    """The audit of one collection: its round, and what is wrong as far as is known.

    Args:
        decoders: by the name of their encoder, which collections share.

    Attributes:
        engine: that answers.
        due_s: when it is to be looked at again, by the monotonic clock.
        rounds: that are complete.
        found: what is wrong, at most 10,000 of it, by where it was found, kind, partition and offset.
    """

    def __init__(
        self,
        settings: Settings,
        collection: Collection,
        store: Store,
        decoders: dict[str, Decoder],
        chance: random.Random,
        stop: threading.Event,
    ) -> None:
        self._settings = settings_of(settings, collection)
        self.engine = collection.engine
        self._name, self._store, self._decoders, self._chance, self._stop = (
            collection.name,
            store,
            decoders,
            chance,
            stop,
        )
        self._serving = ServingFile(self._settings.index_dir, self._settings.encoder)
        self._encoder = ""
        self._compared: ComparedCollection | None = None
        self._log = ""
        # Partition, and what of it; an end of None is what lies behind the topic's.
        self._stretches: list[tuple[int, int, int | None]] = []
        self._in_round = False
        self.due_s = 0.0
        self.rounds = 0
        self.found: dict[tuple[str, str, int, int], Finding] = {}

    def guarded_step(self) -> None:
        """One step; what fails lets this collection wait, and no other."""
        try:
            self.step()
        except (DependencyError, ConfigurationError, IndexDamagedError, TopicReplacedError) as error:
            self._stretches, self._in_round = [], False
            self.due_s = time.monotonic() + _FAILED_S
            logger.warning("not audited for now", collection=self._name, detail=str(error), in_s=_FAILED_S)

    def step(self) -> None:
        """Check the next stretch, or begin the next round.

        Raises:
            DependencyError, ConfigurationError, IndexDamagedError, TopicReplacedError: it cannot be checked now.
        """
        compared = self._opened()
        if not self._stretches:
            self._begin_round(compared)
        if not self._stretches:
            self.due_s = time.monotonic() + _ROUND_PAUSE_S
            return
        partition, start, end = self._stretches.pop()
        if end is None:
            self._note(partition, start, None, self._beyond(compared, partition))
        else:
            while start < end and not self._stop.is_set():
                start = self._check(compared, partition, start, end)
        if not self._stretches:
            self._end_round()

    def close(self) -> None:
        """Close the connections."""
        if self._compared is not None:
            self._compared.close()
            self._compared = None

    def _opened(self) -> ComparedCollection:
        name = self._serving.current().encoder
        if self._compared is None or self._encoder != name:
            self.close()
            own = self._settings.model_copy(update={"encoder": name})
            fingerprint = load_encoder(name, own.encoders_dir).fingerprint
            if name not in self._decoders:
                self._decoders[name] = Decoder(
                    name, encoders_dir=own.encoders_dir, accept_truncated=own.accept_truncated
                )
            self._compared = ComparedCollection(own, self._store, self._decoders[name], fingerprint=fingerprint)
            self._encoder, self._stretches, self.found = name, [], {}
        return self._compared

    def _begin_round(self, compared: ComparedCollection) -> None:
        log, extents = call_watched(compared.extents, "kafka")
        if log != self._log:
            self._log, self.found = log, {}
        for partition, (first, end, topic_end) in extents.items():
            starts = range(first, end, STRETCH_RECORDS)
            self._stretches += [(partition, at, min(end, at + STRETCH_RECORDS)) for at in starts]
            self._stretches.append((partition, topic_end, None))
        self._chance.shuffle(self._stretches)
        # What Kafka has expired since cannot be looked at again.
        self.found = {
            key: each for key, each in self.found.items() if key[2] in extents and key[3] >= extents[key[2]].first
        }

    def _end_round(self) -> None:
        self.rounds += 1
        telemetry.AUDIT_ROUND.labels(self._name).set_to_current_time()
        logger.info("audit went round", collection=self._name, log=self._log, found=len(self.found))
        self.due_s = time.monotonic() + _ROUND_PAUSE_S

    def _check(self, compared: ComparedCollection, partition: int, start: int, end: int) -> int:
        checked = call_watched(lambda: compared.check(self._log, partition, start, end), "kafka")
        findings = confirmed(
            checked.findings,
            lambda: compared.check(self._log, partition, start, checked.reached).findings,
            self._stop.wait,
        )
        telemetry.AUDIT_CHECKED.labels(self._name).inc(len(checked.judged))
        self._note(partition, start, checked.reached, findings)
        return checked.reached

    def _beyond(self, compared: ComparedCollection, partition: int) -> list[Finding]:
        found = call_watched(lambda: compared.check_beyond(self._log, partition), "kafka")
        return confirmed(found, lambda: compared.check_beyond(self._log, partition), self._stop.wait)

    def _note(self, partition: int, start: int, end: int | None, findings: list[Finding]) -> None:
        """Take what was found of a stretch for what was known of it."""
        before = self.found
        self.found = {
            key: each
            for key, each in before.items()
            if key[2] != partition or key[3] < start or (end is not None and key[3] >= end)
        }
        for each in findings[: FOUND_MAX - len(self.found)]:
            key = each.where, each.kind, each.key.partition, each.key.offset
            self.found[key] = each
            if key not in before:
                logger.error(
                    "audit found",
                    collection=self._name,
                    kind=each.kind,
                    where=each.where,
                    **each.key._asdict(),
                    id=each.image_id[:300].encode("utf-8", "backslashreplace").decode(),
                    detail=each.detail,
                    remedy="lookalike verify --repair",
                )
        for kind, gauge in _COUNTED.items():
            gauge.labels(self._name).set(sum(each.kind == kind for each in self.found.values()))


def _wait_for_lock(settings: Settings, stop: threading.Event) -> bool:
    # No encoder's name begins with an underscore.
    folder, said = settings.index_dir / "_audit", False
    while not stop.is_set():
        if lock_index(folder) is not None:
            return True
        if not said:
            logger.info("standing by", because=f"another audit holds {folder}/lock")
            said = True
        stop.wait(1.0)
    return False
