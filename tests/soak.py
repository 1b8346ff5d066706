"""A soak: images, replacements, deletions, searches and watches go on while parts are killed at random, and all of it is judged.

    python -m tests.soak --minutes 30 --seed 7

It starts servers and programs of its own on free ports of loopback, in a folder that is kept: the journal lies there. Exit status 0
means that no rule was broken and that at least 99.9 % of the searches were answered.
"""

import argparse
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec

from stack.programs import answers_ready
from tests.history.asking import Asker
from tests.history.held import HELD_FILE, Held, log_of_topic, read_held
from tests.history.journal import JOURNAL_FILE, End, Fault, Journal, Look, Outcome, Query, Run, Watch, read_journal
from tests.history.judge import Judgement, judge
from tests.history.load import Embedder, Load
from tests.history.sending import Sender
from tests.parts import SERVERS, Parts, started

KILL_INTERVAL_S = 5.0
SETTLE_S_MAX = 180.0
ANSWERED_SHARE_MIN = 0.999
# A watch that takes every image: when it was told of the last ones, so were all others of what they must be told of.
_EVERYTHING = 1e9


@dataclass(frozen=True)
class Result:
    """What came of a soak; of the questions, so many were put off or not answered by any API."""

    judgement: Judgement
    kills: int
    questions: int
    unanswered: int

    @property
    def is_good(self) -> bool:
        """No rule broken, and nearly all answered."""
        return not self.judgement.findings and self.unanswered <= (1 - ANSWERED_SHARE_MIN) * self.questions

    def __str__(self) -> str:
        share = 1 - self.unanswered / max(1, self.questions)
        return f"{self.kills} kills; {share:.4%} of {self.questions} searches answered; {self.judgement}"


class Soak:
    """One soak over parts that run; use `run`, or the steps one by one."""

    def __init__(self, parts: Parts, folder: Path, seed: int) -> None:
        self.parts = parts
        self.settings = parts.settings
        self.folder = folder
        self.embedder = Embedder(self.settings.encoder)
        self.journal = Journal(folder / JOURNAL_FILE)
        self.kills = self.questions = self.unanswered = 0
        self._chance = random.Random(seed)
        self._load = Load(random.Random(f"{seed} load"), ids=400, pictures=200)
        self._sender = Sender(self.journal, self.settings.kafka_bootstrap, self.settings.kafka_topic)
        self._addresses = {name: f"http://127.0.0.1:{name.partition('-')[2]}" for name in parts.apis}
        self._stop = threading.Event()
        self._own: Outcome | None = None
        self._watches: list[str] = []
        self._everything: Watch | None = None
        log = log_of_topic(self.settings.kafka_bootstrap, self.settings.kafka_topic)
        self.journal.note(Run(seed=seed, topic=self.settings.kafka_topic, log=log, encoder=self.settings.encoder))

    def run(self, seconds: float, *, killed: tuple[str, ...] = ()) -> Result:
        """Send and ask for so long while one of the `killed` parts dies every few seconds, and judge."""
        self._everything = self._watch_everything()
        works: list[Callable[[], None]] = [self._send, self._post, self._supervise, self._watch]
        works += [self._asks(number) for number in range(2)]
        with ThreadPoolExecutor(len(works)) as pool:
            running = [pool.submit(work) for work in works]
            until_s = time.monotonic() + seconds
            try:
                while time.monotonic() < until_s and not any(each.done() for each in running):
                    time.sleep(KILL_INTERVAL_S)  # the interval itself, not a wait for something
                    if killed:
                        self._kill(self._chance.choice(killed))
            finally:
                self._stop.set()
        for each in running:
            each.result()
        return self.end()

    def send(self, count: int) -> None:
        """Send some records and wait until they are confirmed."""
        for _ in range(count):
            self._sender.send(self._load.record())
        assert self._sender.flush() == 0

    def note_killed(self, name: str) -> None:
        """Note that a part is killed: what it was at may be done twice."""
        self.journal.note(Fault(part=name.partition("-")[0], what="killed", at_s=time.monotonic()))

    def end(self, settle_s: float = SETTLE_S_MAX) -> Result:
        """Let everything come through, read all again from Kafka, and judge."""
        self.parts.restart_what_ended()
        self.parts.wait_ready(*SERVERS, *self.parts.apis)
        self._sender.flush()
        asker = self._asker(self.parts.apis[0], "last")
        look = self._settled(asker, settle_s)
        query = Query(image=self._load.picture())
        for offset in range(0, 3000, 1000):
            asker.search(query, k=1000, offset=offset)
        if look is not None:
            self.journal.note(End(look=look))
        asker.close()
        self.journal.close()
        held = read_held(self.settings.kafka_bootstrap, self.settings.kafka_topic)
        (self.folder / HELD_FILE).write_bytes(msgspec.json.encode(held))
        judgement = judge(read_journal(self.journal.path), held, self.embedder)
        return Result(judgement, self.kills, self.questions, self.unanswered)

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
        return Asker(self.journal, self._addresses[api], f"{name} at {api}")

    def _watch_everything(self) -> Watch:
        asker = self._asker(self.parts.apis[0], "watcher")
        query = Query(embedding=[float(x) for x in self.embedder(self._load.picture())])
        watch = asker.watch(query, _EVERYTHING, None)
        asker.close()
        assert watch is not None
        return watch

    def _send(self) -> None:
        def note(outcome: Outcome) -> None:
            if outcome.state == "confirmed":
                self._own = outcome

        while not self._stop.wait(0.04):
            self._sender.send(self._load.record(), note)
            self._sender.poll()

    def _post(self) -> None:
        """Images and deletions over HTTP."""
        askers = [self._asker(api, "poster") for api in self.parts.apis]
        chance = random.Random(self._chance.random())
        while not self._stop.wait(0.3):
            image_id = f"posted/{chance.randrange(50)}"
            made = self._load.deletion(image_id) if chance.random() < 0.2 else self._load.image(image_id)
            chance.choice(askers).post(made)

    def _asks(self, number: int) -> Callable[[], None]:
        chance, load = random.Random(self._chance.random()), Load(random.Random(self._chance.random()), ids=400)

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
        """Ask one API, and where it does not answer the next: a generation is kept by all of them."""
        self.questions += 1
        for asker in askers:
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
            asker = self._chance.choice(askers)
            if (watch := asker.watch(*self._load.watched(self.embedder))) is not None:
                self._watches.append(watch.id)
            if len(self._watches) > 6:
                asker.unwatch(self._watches.pop(0))

    def _supervise(self) -> None:
        while not self._stop.wait(0.2):
            self.parts.restart_what_ended()

    def _kill(self, name: str) -> None:
        """Kill a part, but no API while the other one is still starting: two are there so that one may die."""
        others = [address for api, address in self._addresses.items() if api != name]
        if name in self._addresses and not any(map(answers_ready, others)):
            return
        self.note_killed(name)
        self.parts.kill(name)
        self.kills += 1


def main() -> int:
    """Run a soak; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="how long it sends and asks (default: 30)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32), help="of all chance")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # as Ctrl-C: what was started is stopped
    folder = Path(tempfile.mkdtemp(prefix="lookalike-soak-"))
    print(f"seed {options.seed}, folder {folder}", flush=True)
    parts = started(folder)
    try:
        result = Soak(parts, folder, options.seed).run(options.minutes * 60, killed=tuple(parts.services))
    finally:
        parts.stop()
    print(result)
    for finding in result.judgement.findings[:50]:
        print(f"  {finding}")
    print(f"Judge it again: python -m tests.history {folder}")
    return 0 if result.is_good else 1


def _is_covered(held: Held, look: Look) -> bool:
    return all(record.offset < look.coverage.offsets.get(str(record.partition), 0) for record in held.records)


def _is_told(held: Held, everything: Watch) -> bool:
    """Whether the watch that takes everything was told of the last image of each partition."""
    told = {(match.partition, match.offset) for match in held.matches if match.watch == everything.id}
    bad = {(rejection.partition, rejection.offset) for rejection in held.rejections}
    last = {r.partition: r.offset for r in held.records if r.value is not None and r[:2] not in bad}
    return all(place in told or place[1] < everything.start.get(str(place[0]), 0) for place in last.items())


if __name__ == "__main__":
    sys.exit(main())
