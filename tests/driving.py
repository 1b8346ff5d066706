"""Images, replacements, deletions, searches and watches on their way to parts that run, and the judgement on what came of them."""

import random
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec

from tests.history.asking import Asker
from tests.history.held import HELD_FILE, Held, log_of_topic, read_held
from tests.history.journal import (
    JOURNAL_FILE,
    End,
    Event,
    Fault,
    Fetch,
    Journal,
    Look,
    Outcome,
    Query,
    Run,
    Search,
    Watch,
)
from tests.history.judge import Judgement, judge
from tests.history.load import Embedder, Load
from tests.history.rules import Finding
from tests.history.sending import Sender
from tests.parts import Parts
from tests.waiting import wait_for

SETTLE_S_MAX = 180.0
# A watch that takes every image: when it was told of the last ones, so were all others of what they must be told of.
_EVERYTHING = 1e9


class Driver:
    """Sends to and asks parts that run, and judges what came of it.

    Args:
        parts: two APIs among them, so that each question is asked again where one of them does not answer.
        folder: that the journal is written to.
        send_interval_s: between two records.
        clients: how many search.
        producer: further settings of the producer.

    Attributes:
        questions: how many searches were asked, and of them how many `unanswered` by either API.
        settled_s: when all had come through, on the clock that never goes back.
        confirmed: the last records that Kafka took: when they were sent, on that clock, with partition and offset.
    """

    def __init__(
        self,
        parts: Parts,
        folder: Path,
        seed: int,
        *,
        send_interval_s: float = 0.04,
        clients: int = 2,
        producer: dict[str, object] | None = None,
    ) -> None:
        self.parts = parts
        self.settings = parts.settings
        self.folder = folder
        self.embedder = Embedder(self.settings.encoder)
        self.journal = Journal(folder / JOURNAL_FILE)
        self.questions = self.unanswered = 0
        self.settled_s = 0.0
        self.chance = random.Random(seed)
        self._load = Load(random.Random(f"{seed} load"), ids=400, pictures=200)
        self.confirmed: deque[tuple[float, int, int]] = deque(maxlen=50_000)
        self._send_interval_s, self._clients = send_interval_s, clients
        self._sender = Sender(self.journal, self.settings.kafka_bootstrap, self.settings.kafka_topic, producer)
        self.addresses = {name: f"http://127.0.0.1:{name.partition('-')[2]}" for name in parts.apis}
        self._stop = threading.Event()
        self._own: Outcome | None = None
        self._watches: list[str] = []
        self._everything: Watch | None = None
        self._events: list[Event] = []
        self._found: list[Finding] = []
        log = log_of_topic(self.settings.kafka_bootstrap, self.settings.kafka_topic)
        self.journal.note(Run(seed=seed, topic=self.settings.kafka_topic, log=log, encoder=self.settings.encoder))

    def during(self, act: Callable[[], None]) -> None:
        """Send and ask while something is done."""
        self._everything = self._everything or self._watch_everything()
        self._stop.clear()
        works: list[Callable[[], None]] = [self._send, self._post, self._supervise, self._watch]
        works += [self._asks(number) for number in range(self._clients)]
        with ThreadPoolExecutor(len(works)) as pool:
            running = [pool.submit(work) for work in works]
            try:
                act()
            finally:
                self._stop.set()
        for each in running:
            each.result()

    def send(self, count: int) -> None:
        """Send some records and wait until they are confirmed."""
        for _ in range(count):
            self._sender.send(self._load.record())
        assert self._sender.flush() == 0

    def note_fault(self, name: str, what: str = "killed") -> None:
        """Note that something is done to a part: what it was at may be done twice."""
        self.journal.note(Fault(part=name.partition("-")[0], what=what, at_s=time.monotonic()))

    def judged(self, settle_s: float = SETTLE_S_MAX) -> Judgement:
        """Let everything come through, read all again from Kafka, and judge what came of it since this was asked last."""
        self.parts.restart_what_ended()
        self.parts.wait_ready(*self.parts.servers, *self.parts.apis)
        self._sender.flush()
        asker = self._asker(self.parts.apis[0], "last")
        look = self._settled(asker, settle_s)
        self.settled_s = time.monotonic()
        query = Query(image=self._load.picture())
        for offset in range(0, 3000, 1000):
            asker.search(query, k=1000, offset=offset)
        if look is not None:
            self.journal.note(End(look=look))
        asker.close()
        held = read_held(self.settings.kafka_bootstrap, self.settings.kafka_topic)
        (self.folder / HELD_FILE).write_bytes(msgspec.json.encode(held))
        self._events += self.journal.take()
        judgement = judge(self._events, held, self.embedder)
        new = [finding for finding in judgement.findings if finding not in self._found]
        self._found += new
        self._events = [each for each in self._events if not isinstance(each, Search | Fetch | Look | End)]
        return replace(judgement, findings=new)

    def _settled(self, asker: Asker, settle_s: float) -> Look | None:
        """The state of the index once all is covered and told, or when the time is over; None when there is none."""
        until_s, look, held = time.monotonic() + settle_s, None, None
        while time.monotonic() < until_s:
            self.parts.restart_what_ended()
            held = held or read_held(self.settings.kafka_bootstrap, self.settings.kafka_topic)
            look = asker.look() or look
            if look is not None and _is_covered(held, look):
                if self._everything is None or _is_told(held, self._everything):
                    return look
                held = None
            time.sleep(0.5)
        return look

    def _asker(self, api: str, name: str) -> Asker:
        return Asker(self.journal, self.addresses[api], f"{name} at {api}")

    def _watch_everything(self) -> Watch:
        asker = self._asker(self.parts.apis[0], "watcher")
        query = Query(embedding=[float(x) for x in self.embedder(self._load.picture())])
        # An API searches before it has reached Cassandra, where watches are.
        watch = wait_for(lambda: asker.watch(query, _EVERYTHING, None))
        asker.close()
        return watch

    def _send(self) -> None:
        def note(outcome: Outcome, began_s: float) -> None:
            if outcome.state == "confirmed":
                self._own = outcome
                self.confirmed.append((began_s, outcome.partition, outcome.offset))

        due_s = time.monotonic()
        while not self._stop.wait(max(0.0, due_s - time.monotonic())):
            due_s = max(due_s + self._send_interval_s, time.monotonic() - 1.0)
            self._sender.send(self._load.record(), partial(note, began_s=time.monotonic()))
            self._sender.poll()

    def _post(self) -> None:
        """Images and deletions over HTTP."""
        askers = [self._asker(api, "poster") for api in self.parts.apis]
        chance = random.Random(self.chance.random())
        while not self._stop.wait(0.3):
            image_id = f"posted/{chance.randrange(50)}"
            made = self._load.deletion(image_id) if chance.random() < 0.2 else self._load.image(image_id)
            chance.choice(askers).post(made)

    def _asks(self, number: int) -> Callable[[], None]:
        chance, load = random.Random(self.chance.random()), Load(random.Random(self.chance.random()), ids=400)

        def ask() -> None:
            askers = [self._asker(api, f"client {number}") for api in self.parts.apis]
            began_s = time.time()
            while not self._stop.wait(0.05):
                first = chance.choice(askers)
                draw = chance.random()
                if draw < 0.1:
                    first.look() if draw < 0.05 else first.batch(*load.batch(self.embedder))
                    continue
                over_ms = int((time.time() - began_s) * 1000) - 2000  # by then Kafka's ends are known
                times_ms = [int(began_s * 1000) + chance.randint(0, over_ms)] if over_ms > 0 else []
                wanted = load.wanted(first.coverage, times_ms)
                if (own := self._own) is not None and chance.random() < 0.2:
                    wanted = {"min_offsets": {str(own.partition): own.offset + 1}, "wait_ms": 1000}
                self._question(
                    load.query(self.embedder), wanted, [first, *(each for each in askers if each is not first)]
                )

        return ask

    def _question(self, query: Query, wanted: dict[str, object], askers: list[Asker]) -> None:
        """Ask one API, and where it does not answer the next: a generation is kept by all of them on one machine."""
        self.questions += 1
        for asker in askers:
            if self.parts.machines > 1 and asker is not askers[0]:
                wanted = {name: value for name, value in wanted.items() if name not in ("generation", "offset")}
            found = asker.search(query, **wanted)  # type: ignore[arg-type]
            if found.status not in (0, 429, 503):
                if found.matches and found.as_of is None:
                    asker.fetch(found.matches[-1])
                return
        self.unanswered += 1

    def _watch(self) -> None:
        """Create a watch every few seconds, and delete some."""
        askers = [self._asker(api, "watcher") for api in self.parts.apis]
        while not self._stop.wait(8.0):
            asker = self.chance.choice(askers)
            if (watch := asker.watch(*self._load.watched(self.embedder))) is not None:
                self._watches.append(watch.id)
            if len(self._watches) > 6:
                asker.unwatch(self._watches.pop(0))

    def _supervise(self) -> None:
        while not self._stop.wait(0.2):
            self.parts.restart_what_ended()


def _is_covered(held: Held, look: Look) -> bool:
    return all(record.offset < look.coverage.offsets.get(str(record.partition), 0) for record in held.records)


def _is_told(held: Held, everything: Watch) -> bool:
    """Whether the watch that takes everything was told of the last image of each partition."""
    told = {(match.partition, match.offset) for match in held.matches if match.watch == everything.id}
    bad = {(rejection.partition, rejection.offset) for rejection in held.rejections}
    last = {r.partition: r.offset for r in held.records if r.value is not None and r[:2] not in bad}
    return all(place in told or place[1] < everything.start.get(str(place[0]), 0) for place in last.items())
