"""Faults between the parts, one by one, under load: no rule of the judge is broken, and all heals without a hand.

With LOOKALIKE_TABLES=docs/reliability.md the tables there are written anew.
"""

import contextlib
import random
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import SEED
from tests.driving import Driver
from tests.fault_cases import AWAY, CASES, FaultCase
from tests.parts import started
from tests.soak import ANSWERED_SHARE_MIN
from tests.tables import tell_table

# Until everything that was confirmed is searchable, and told to the watches. The longest bound of a client is 40 s.
HEALED_S_MAX = 90.0
RUNS = [(case, seed) for case in CASES for seed in range(case.runs)]
# File systems of their own, so that they alone are full.
DISKS_MIB = {"index": 96, "var/kafka": 512, "var/cassandra": 768}


@dataclass(frozen=True)
class Came:
    """What came of a case: after how many seconds all was well again, and how many searches were answered."""

    healed_s: float
    asked: int
    unanswered: int
    answers: int
    findings: int


class Faults:
    """Parts that run with links that can fail, and what came of each case."""

    def __init__(self, driver: Driver) -> None:
        self.came: dict[FaultCase, list[Came]] = defaultdict(list)
        self._driver = driver

    def run(self, case: FaultCase, seed: int) -> Came:
        """Put a fault between the parts under load, and judge once all is well again."""
        chance, driver = random.Random(f"{SEED} {case.name} {seed}"), self._driver
        asked, unanswered = driver.questions, driver.unanswered
        over: list[float] = []

        def act() -> None:
            time.sleep(chance.uniform(0.5, 1.5))  # load before the fault, the fault itself, and load after it
            with case.fault(driver):
                time.sleep(case.lasts_s)
            over.append(time.monotonic())
            time.sleep(1.0)

        try:
            driver.during(act)
            judgement = driver.judged(HEALED_S_MAX)
        finally:
            driver.parts.start_as_ever()  # libfaketime has single waits fail also when the clock is right again
        came = Came(
            driver.settled_s - over[0],
            driver.questions - asked,
            driver.unanswered - unanswered,
            judgement.answers,
            len(judgement.findings),
        )
        self.came[case].append(came)
        self._tell()
        print(f"{case.name} {seed}: {came}; {judgement}")
        assert judgement.findings == []
        assert came.healed_s < HEALED_S_MAX
        return came

    def _tell(self) -> None:
        """Tell in tables what came of all so far."""
        rows = [_row(case, self.came[case]) for case in CASES if case in self.came]
        if rows:
            columns = ("case", "what happens", "runs", "healed after at most", "searches", "answers judged", "findings")
            tell_table("faults between parts", columns, rows)
        away = [_row(case, self.came[case]) for case in AWAY if case in self.came]
        if away:
            columns = ("case", "what happens", "runs", "healed after", "searches", "answers judged", "findings")
            tell_table("parts away", columns, away)


def _row(case: FaultCase, came: list[Came]) -> tuple[object, ...]:
    asked, unanswered = sum(each.asked for each in came), sum(each.unanswered for each in came)
    answered = f"{1 - unanswered / max(1, asked):.2%} of {asked}"
    healed_s = f"{max(each.healed_s for each in came):.0f} s"
    judged, findings = sum(each.answers for each in came), sum(each.findings for each in came)
    return f"`{case.name}`", case.says, len(came), healed_s, answered, judged, findings


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faults]:
    folder = tmp_path_factory.mktemp("between")
    with contextlib.ExitStack() as disks:
        for disk, size_mib in DISKS_MIB.items():
            disks.enter_context(mounted(folder / disk, size_mib))
        parts = started(folder, is_linked=True)
        try:
            driver = Driver(parts, folder, SEED)
            faults = Faults(driver)
            yield faults
            driver.journal.close()
        finally:
            parts.stop()


@contextlib.contextmanager
def mounted(folder: Path, size_mib: int) -> Iterator[None]:
    """A folder with a file system of its own, in memory, where we may mount one."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "tmpfs", str(folder)]
    is_mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield
    finally:
        if is_mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.thorough
@pytest.mark.timeout(300, method="signal")  # the next case may run
@pytest.mark.parametrize(("case", "seed"), RUNS, ids=[f"{case.name}-{seed}" for case, seed in RUNS])
def test_a_fault_between_parts_heals_without_a_hand_and_breaks_no_rule(
    faults: Faults, case: FaultCase, seed: int
) -> None:
    came = faults.run(case, seed)
    assert came.unanswered <= (1 - ANSWERED_SHARE_MIN) * came.asked + 1


@pytest.mark.thorough
@pytest.mark.timeout(600, method="signal")
@pytest.mark.parametrize("case", AWAY, ids=lambda case: case.name)
def test_searches_are_answered_while_a_part_is_away_for_two_minutes(faults: Faults, case: FaultCase) -> None:
    came = faults.run(case, 0)
    assert came.unanswered <= (1 - ANSWERED_SHARE_MIN) * came.asked
