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
import time
from dataclasses import dataclass
from pathlib import Path

from stack.programs import answers_ready
from tests.driving import SETTLE_S_MAX, Driver
from tests.history.judge import Judgement
from tests.parts import Parts, started

KILL_INTERVAL_S = 5.0
ANSWERED_SHARE_MIN = 0.999


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


class Soak(Driver):
    """One soak over parts that run; use `run`, or the steps one by one."""

    def __init__(self, parts: Parts, folder: Path, seed: int) -> None:
        super().__init__(parts, folder, seed)
        self.kills = 0

    def run(self, seconds: float, *, killed: tuple[str, ...]) -> Result:
        """Send and ask for so long while one of the `killed` parts dies every few seconds, and judge."""

        def kill() -> None:
            until_s = time.monotonic() + seconds
            while time.monotonic() < until_s:
                time.sleep(KILL_INTERVAL_S)  # the interval itself, not a wait for something
                self._kill(self.chance.choice(killed))

        self.during(kill)
        return self.end()

    def end(self, settle_s: float = SETTLE_S_MAX) -> Result:
        """Let everything come through, and judge."""
        judgement = self.judged(settle_s)
        self.journal.close()
        return Result(judgement, self.kills, self.questions, self.unanswered)

    def _kill(self, name: str) -> None:
        """Kill a part, but no API while the other one is still starting: two are there so that one may die."""
        others = [address for api, address in self.addresses.items() if api != name]
        if name in self.addresses and not any(map(answers_ready, others)):
            return
        self.note_fault(name)
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


if __name__ == "__main__":
    sys.exit(main())
