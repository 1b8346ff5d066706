"""Bugs that can be planted stand in the code once, are documented with where they are found, and never run outside of tests."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.errors import ConfigurationError
from runtime import planted
from runtime.planted import PLANTED_BUGS, PLANTED_VARIABLE, refuse_planted
from tests.faults.test_planted_bugs import BROKEN
from tests.history.rules import RULES
from tests.unit.test_house import FOLDERS, python_files

ROOT = Path(__file__).parents[2]
RELIABILITY = (ROOT / "docs" / "reliability.md").read_text()


@pytest.fixture
def fresh() -> Iterator[None]:
    planted._planted.cache_clear()
    yield
    planted._planted.cache_clear()


def test_nothing_is_planted_unless_it_is_named(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PLANTED_VARIABLE, raising=False)
    assert not any(map(planted.planted, PLANTED_BUGS))


def test_the_bug_that_is_named_is_planted(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PLANTED_VARIABLE, "fold-forgets-deletes")
    assert [bug for bug in PLANTED_BUGS if planted.planted(bug)] == ["fold-forgets-deletes"]


def test_nothing_is_planted_outside_of_tests(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PLANTED_VARIABLE, "fold-forgets-deletes")
    monkeypatch.delenv("LOOKALIKE_TEST_SEED")
    with pytest.raises(ConfigurationError, match="for tests alone"):
        refuse_planted()
    with pytest.raises(ConfigurationError, match="for tests alone"):
        planted.planted("search-in-float32")


def test_a_bug_that_there_is_not_is_refused(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PLANTED_VARIABLE, "fold-forgets")
    with pytest.raises(ConfigurationError, match="no bug that can be planted"):
        refuse_planted()


def test_every_bug_stands_in_the_code() -> None:
    sources = [path.read_text() for path in python_files(*FOLDERS) if "tests" not in path.parts]
    used = Counter(name for source in sources for name in re.findall(r'\bplanted\(\s*"([a-z0-9-]+)"', source))
    assert used.keys() == PLANTED_BUGS.keys()


def test_the_docs_list_every_bug_with_the_rule_that_finds_it() -> None:
    listed = re.findall(r"^\| `([a-z0-9-]+)` \| (.+) \| `([a-z-]+)` \|$", RELIABILITY, re.MULTILINE)
    rules = {**BROKEN, "embedder-acknowledges-first": "lost"}
    assert listed == [(bug, what, rules[bug]) for bug, what in PLANTED_BUGS.items()]


def test_the_docs_list_every_rule() -> None:
    table = RELIABILITY.split("| rule |", 1)[1].split("\n\n", 1)[0]
    listed = dict(re.findall(r"^\| `([a-z-]+)` \| ([^|]+) \|$", table, re.MULTILINE))
    assert listed == RULES
