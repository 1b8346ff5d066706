"""Each bug that can be planted is found by the judge of histories, under the rule that it breaks; without one nothing is found."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime import planted
from runtime.planted import PLANTED_BUGS, PLANTED_VARIABLE
from tests.conftest import SEED
from tests.small_history import SmallWorld, small_world

# The rule that each breaks, by which it must be found. It may break others too.
BROKEN = {
    "embedder-accepts-bad-metadata": "rejected",
    "embedder-hides-rejections": "rejected",
    "fold-passes-gaps": "stale",
    "fold-forgets-deletes": "deleted",
    "fold-takes-the-last-read": "stale",
    "fold-takes-kafkas-time": "stale",
    "tail-keeps-replaced": "twice",
    "merge-drops-the-tail": "missing",
    "base-forgets-deletes": "deleted",
    "writer-publishes-older": "backwards",
    "filter-shifted-by-a-row": "filter",
    "as-of-one-more": "ahead",
    "as-of-forgets-replaced": "missing",
    "search-reverses-ties": "ties",
    "search-in-float32": "distance",
    "api-ignores-min-offsets": "too-early",
    "api-answers-from-another-collection": "other-log",
    "api-swaps-partitions": "ahead",
    "watcher-tells-twice": "told-twice",
    "watcher-skips-the-last": "not-told",
    "watcher-notes-first": "not-told",
}
# What only shows between processes is planted in tests/faults/test_history_of_servers.py.
ON_SERVERS = {"embedder-acknowledges-first"}
# One of each part, for every run of the tests.
QUICK = ("fold-forgets-deletes", "merge-drops-the-tail", "api-ignores-min-offsets", "watcher-notes-first")
HISTORIES_MAX = 12


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallWorld]:
    with small_world(tmp_path_factory.mktemp("world")) as world:
        yield world


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    yield monkeypatch
    monkeypatch.undo()
    planted._planted.cache_clear()


def test_a_history_of_the_real_code_breaks_no_rule(world: SmallWorld, tmp_path: Path) -> None:
    judgement = world.judged(tmp_path, SEED)
    print(judgement)
    assert judgement.findings == []
    assert judgement.answers > 50 and judgement.matches > 400 and judgement.told >= 1


@pytest.mark.thorough
@pytest.mark.timeout(1200)
def test_a_hundred_histories_of_the_real_code_break_no_rule(world: SmallWorld, tmp_path: Path) -> None:
    for number in range(100):
        judgement = world.judged(tmp_path, f"{SEED} {number}")
        print(judgement)
        assert judgement.findings == [], number


@pytest.mark.parametrize(
    "bug", [bug if bug in QUICK else pytest.param(bug, marks=pytest.mark.thorough) for bug in BROKEN]
)
def test_planted_bug_is_found(bug: str, world: SmallWorld, tmp_path: Path, plant: pytest.MonkeyPatch) -> None:
    plant.setenv(PLANTED_VARIABLE, bug)
    planted._planted.cache_clear()
    for number in range(HISTORIES_MAX):
        found = [
            finding for finding in world.judged(tmp_path, f"{SEED} {number}").findings if finding.rule == BROKEN[bug]
        ]
        if found:
            print(f"{bug}: {PLANTED_BUGS[bug]} Found in history {number}, {len(found)} times: {found[0]}")
            return
    pytest.fail(f"{bug} was not found in {HISTORIES_MAX} histories")


def test_every_bug_that_can_be_planted_is_looked_for() -> None:
    assert BROKEN.keys() | ON_SERVERS == PLANTED_BUGS.keys()
    assert not BROKEN.keys() & ON_SERVERS
