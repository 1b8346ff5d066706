"""Three brokers and three nodes under load: what becomes of images and searches while one of them is away."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
from kafka import KafkaAdminClient

from stack.jars import ROOT
from stack.programs import environment
from tests.conftest import SEED
from tests.driving import Driver
from tests.history.judge import Judgement
from tests.parts import started
from tests.waiting import wait_for

KILLED, FROZEN = "killed", "frozen"
SERVERS = tuple(f"{kind}-{number}" for kind in ("kafka", "cassandra") for number in (1, 2, 3))
# As others' clients may have it, so that it is ours that is measured: by default a minute.
_PRODUCER: dict[str, object] = {"socket.timeout.ms": 4000}
_BACK_S_MAX = 90.0


@dataclass(frozen=True)
class Away:
    """What became of one time that a server was away.

    Attributes:
        back_s: after so long, images that were sent since it went were searchable in every partition.
        again_s: the same from the moment in which it came back.
        asked, unanswered: searches from a moment before to a moment after.
    """

    server: str
    what: str
    back_s: float
    again_s: float
    asked: int
    unanswered: int


class Cluster(Driver):
    """A cluster with all programs and a load."""

    def __init__(
        self, folder: Path, *, images_per_s: int = 200, clients: int = 4, machines: int = 1, apis: int = 2
    ) -> None:
        parts = started(folder, apis=apis, machines=machines, stack_nodes=3, rebuild_interval_s=30)
        try:
            super().__init__(parts, folder, SEED, send_interval_s=1 / images_per_s, clients=clients, producer=_PRODUCER)
        except BaseException:
            parts.stop()
            raise
        self._http = httpx.Client(timeout=2.0)

    def close(self) -> None:
        """Stop all."""
        self.journal.close()
        self._http.close()
        self.parts.stop()

    def away(self, server: str, what: str, away_s: float) -> Away:
        """Have a server be away for so long, and see it come back."""
        asked, unanswered = self.questions, self.unanswered
        self.note_fault(server, what)
        began_s = time.monotonic()
        with self.parts.down(server) if what == KILLED else self._frozen(server):
            back_s = self.back_s(began_s)
            time.sleep(max(0.0, began_s + away_s - time.monotonic()))  # the absence itself
        self.parts.restart_what_ended()
        self.parts.wait_ready(server)
        again_s = self.back_s(time.monotonic())
        wait_for(self.is_whole, timeout_s=120)
        return Away(server, what, back_s, again_s, self.questions - asked, self.unanswered - unanswered)

    def back_s(self, since_s: float) -> float:
        """Seconds until every partition's coverage has an image that was sent since then."""
        waiting = set(range(self.settings.kafka_partitions))
        first: dict[int, int] = {}
        while waiting:
            assert time.monotonic() < since_s + _BACK_S_MAX, f"partitions {waiting} stand still"
            for began_s, partition, offset in list(self.confirmed):
                if began_s >= since_s:
                    first.setdefault(partition, offset)
            offsets = self._covered()
            waiting = {p for p in waiting if p not in first or offsets.get(str(p), 0) <= first[p]}
            time.sleep(0.05)
        return time.monotonic() - since_s

    def is_whole(self) -> bool | None:
        """Whether every replica of every partition of our topics has what it must have."""
        settings = self.settings
        with contextlib.closing(KafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap.split(","))) as admin:
            topics = admin.describe_topics([settings.kafka_topic, settings.rejected_topic, settings.matches_topic])
        partitions = [partition for topic in topics for partition in topic["partitions"]]
        return all(len(each["isr_nodes"]) == len(each["replica_nodes"]) == 3 for each in partitions) or None

    def nodetool(self, number: int, *words: str) -> str:
        """What Cassandra's own tool says of a node."""
        command = [sys.executable, "-m", "stack", "nodetool", "--node", str(number), *words]
        own = environment(self.settings)
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, **own}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def is_in_sync(self, number: int = 1) -> bool:
        """Whether all replicas of all rows are the same."""
        told = self.nodetool(number, "repair", "--full", "--preview", self.settings.cassandra_keyspace)
        return bool(re.search("Previewed data was in sync", told))

    def searched(self) -> tuple[int, int]:
        """Searches so far, and those without an answer."""
        return self.questions, self.unanswered

    def judged_anew(self) -> Judgement:
        """The judgement; fails the test when there are findings."""
        judgement = self.judged(120.0)
        print(judgement)
        assert judgement.findings == [], judgement.findings[:5]
        return judgement

    def _covered(self) -> dict[str, int]:
        for address in self.addresses.values():
            with contextlib.suppress(httpx.HTTPError, ValueError, KeyError):
                offsets: dict[str, int] = self._http.get(f"{address}/v1/index").json()["coverage"]["offsets"]
                return offsets
        return {}

    @contextlib.contextmanager
    def _frozen(self, server: str) -> Iterator[None]:
        self.parts.signal(server, signal.SIGSTOP)
        try:
            yield
        finally:
            self.parts.signal(server, signal.SIGCONT)
