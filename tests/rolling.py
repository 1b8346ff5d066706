"""Programs of version 0.2.0 that are replaced by those of this one, one after another, while clients send and ask; all is judged.

The programs of 0.2.0 run from its commit, unpacked once, with this version's environment: all that they need is in it.
"""

import io
import random
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from contract.settings import PREFIX, Settings
from gallery.generations.manifest import current_name, read_manifest, read_other_format
from stack.jars import ROOT
from stack.ports import free_ports
from stack.programs import answers_ready
from stack.service import Service
from tests.conftest import COMPILED_DIR
from tests.history.asking import Asker
from tests.history.held import Held, log_of_topic, read_held
from tests.history.journal import JOURNAL_FILE, End, Fault, Journal, Look, Query, Run, read_journal
from tests.history.judge import Judgement, judge
from tests.history.load import Embedder, Load
from tests.history.sending import Sender
from tests.parts import Parts
from tests.waiting import wait_for

COMMIT = "c3ede2e"
K_MAX = 100
# Unpacked here, so that what is compiled for it is found again.
_FOLDER = COMPILED_DIR.with_name("lookalike-0.2.0")


def folder_of_0_2_0() -> Path:
    """The program's files at 0.2.0; a test in a clone that does not reach back so far is skipped."""
    if not (_FOLDER / "pyproject.toml").exists():
        packed = subprocess.run(["git", "archive", COMMIT], cwd=ROOT, capture_output=True, check=False)
        if packed.returncode:
            shallow = subprocess.run(
                ["git", "rev-parse", "--is-shallow-repository"], cwd=ROOT, capture_output=True, text=True, check=False
            )
            needed = f"This needs commit {COMMIT}, version 0.2.0, which this clone lacks: git fetch --unshallow"
            if shallow.stdout.strip() == "true":
                pytest.skip(needed)
            pytest.fail(needed)
        unfinished = _FOLDER.with_suffix(".tmp")
        with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
            archive.extractall(unfinished, filter="data")
        unfinished.rename(_FOLDER)
    return _FOLDER


def of_0_2_0(service: Service) -> Service:
    """The same program as 0.2.0 has it."""
    folder = folder_of_0_2_0()
    own = {f"{PREFIX}COMPILED_DIR": str(folder / "var" / "numba")}
    return replace(
        service,
        command=lambda: ["env", "-C", str(folder), *service.command()],
        environment={**service.environment, **own},
    )


class Rolling:
    """Embedder, indexer and APIs on running servers, at first of 0.2.0, with clients.

    Attributes:
        parts: APIs are started only by `start`.
        questions, unanswered: searches, and those that neither API answered.
    """

    def __init__(self, settings: Settings, folder: Path, seed: int) -> None:
        self.parts = Parts(settings, free_ports(2))
        self.first, self.second = self.parts.apis
        self.new = {name: self.parts.services[name] for name in ("embedder", "indexer", *self.parts.apis)}
        self.parts.services |= {name: of_0_2_0(service) for name, service in self.new.items()}
        self._old = dict(self.parts.services)
        topics = subprocess.run(
            [*self._old["indexer"].command()[:4], "-m", "producers", "topics"],
            env={**self._old["indexer"].environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert topics.returncode == 0, topics.stderr
        self.settings = settings
        self.embedder = Embedder(settings.encoder)
        self.journal = Journal(folder / JOURNAL_FILE)
        self.questions = self.unanswered = 0
        self._chance = random.Random(seed)
        self._load = Load(random.Random(f"{seed} load"), ids=150, pictures=80)
        self._sender = Sender(self.journal, settings.kafka_bootstrap, settings.kafka_topic)
        self._stop = threading.Event()
        log = log_of_topic(settings.kafka_bootstrap, settings.kafka_topic)
        self.journal.note(Run(seed=seed, topic=settings.kafka_topic, log=log, encoder=settings.encoder))

    def start(self, count: int) -> None:
        """Start all of 0.2.0 and wait until so many records are covered, and answered from."""
        self.parts.start("embedder", "indexer", *self.parts.apis)
        self.send(count)
        self.parts.wait_ready(*self.parts.apis)
        self.wait_covered()

    def upgrade(self, name: str) -> None:
        """Put this version in a part's place."""
        self._replace(self.new[name])

    def downgrade(self, name: str) -> None:
        """Put 0.2.0 back in a part's place."""
        self._replace(self._old[name])

    def _replace(self, service: Service) -> None:
        # What an embedder rejected and had no time to note is rejected again by the one that follows.
        part = service.name.partition("-")[0]
        self.journal.note(Fault(part=part, what="replaced", at_s=time.monotonic()))
        self.parts.replace(service)

    def send(self, count: int) -> None:
        """Send some records and wait until they are confirmed."""
        for _ in range(count):
            self._sender.send(self._load.record())
        assert self._sender.flush() == 0

    def wait_covered(self, *apis: str) -> None:
        """Wait until these APIs, or both, answer from all that was sent."""
        held = read_held(self.settings.kafka_bootstrap, self.settings.kafka_topic)
        for api in apis or self.parts.apis:
            asker = Asker(self.journal, _address(api), f"waits for {api}")
            wait_for(lambda asker=asker: _covers(asker.look(), held), timeout_s=120)  # type: ignore[misc]
            asker.close()

    def meanwhile(self, act: Callable[[], None], who: str) -> None:
        """Act while clients of this name send and ask."""
        self._stop.clear()
        works: Sequence[Callable[[], None]] = [self._send, *(lambda n=n: self._ask(f"{who} {n}") for n in range(2))]
        with ThreadPoolExecutor(len(works)) as pool:
            running: list[Future[None]] = [pool.submit(work) for work in works]
            try:
                act()
            finally:
                self._stop.set()
        for each in running:
            each.result()

    def wait_indexed(self) -> None:
        """Wait until an index of either version covers all that was sent."""
        held = read_held(self.settings.kafka_bootstrap, self.settings.kafka_topic)
        folder = self.settings.encoder_index_dir

        def is_indexed() -> bool | None:
            older, name = read_other_format(folder), current_name(folder)
            if older is None and name is None:
                return None
            manifest = older or read_manifest(folder, name or "")
            partitions = manifest.logs[-1].partitions if manifest.logs else {}
            ends = {partition: coverage.next_offset for partition, coverage in partitions.items()}
            return all(record.offset < ends.get(str(record.partition), 0) for record in held.records) or None

        wait_for(is_indexed, timeout_s=120)

    def end(self) -> Judgement:
        """Let all come through, and judge."""
        self._sender.flush()
        self.wait_covered()
        asker = Asker(self.journal, _address(self.first), "last")
        asker.search(Query(image=self._load.picture()), k=K_MAX)
        look = asker.look()
        assert look is not None
        self.journal.note(End(look=look))
        asker.close()
        self.journal.close()
        held = read_held(self.settings.kafka_bootstrap, self.settings.kafka_topic)
        return judge(read_journal(self.journal.path), held, self.embedder)

    def close(self) -> None:
        """Stop all programs."""
        self.parts.stop()
        self.journal.close()

    def _send(self) -> None:
        while not self._stop.wait(0.05):
            self._sender.send(self._load.record())
            self._sender.poll()

    def _ask(self, who: str) -> None:
        chance, load = random.Random(f"{self._chance.random()}"), Load(random.Random(who), ids=150)
        askers = [Asker(self.journal, _address(api), f"{who} at {api}") for api in self.parts.apis]
        while not self._stop.wait(0.05):
            order = chance.sample(range(len(askers)), len(askers))
            wanted = load.wanted(askers[order[0]].coverage, ())
            # What 0.2.0 knows of it.
            asked = {name: wanted[name] for name in ("max_distance", "min_offsets") if name in wanted}
            self.questions += 1
            # As a proxy does that asks /readyz.
            for asker in (askers[n] for n in order if is_ready(self.parts.apis[n])):
                found = asker.search(load.query(self.embedder), k=min(wanted["k"], K_MAX), **asked)
                if found.status not in (0, 429, 503):
                    break
            else:
                self.unanswered += 1
        for asker in askers:
            asker.close()


def _address(api: str) -> str:
    return f"http://127.0.0.1:{api.partition('-')[2]}"


def is_ready(api: str) -> bool:
    """Whether an API says so."""
    return answers_ready(_address(api))


def _covers(look: Look | None, held: Held) -> bool | None:
    if look is None:
        return None
    return all(record.offset < look.coverage.offsets.get(str(record.partition), 0) for record in held.records) or None
