"""What a whole table says is asked for at most so often, and for a while it is not waited for."""

import pytest

from contract.errors import DependencyError
from gallery.store.lately import AT_ONCE_S, LATELY_S, Lately


class Table:
    """What is told, and how long each question waited; nothing is told while `is_away`."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.rows = 0
        self.is_away = False
        self.waited: list[float | None] = []

    def ask(self, wait_s: float | None) -> int:
        self.waited.append(wait_s)
        if self.is_away:
            self.now_s += wait_s or 12.0
            raise DependencyError("cassandra", "no answer")
        return self.rows

    def lately(self) -> Lately[int]:
        return Lately(self.ask, lambda: self.now_s)


def test_what_is_young_enough_is_not_asked_for_again() -> None:
    table = Table()
    lately = table.lately()
    assert lately.get(1.0) == 0
    table.rows, table.now_s = 1, table.now_s + 0.9
    assert lately.get(1.0) == 0
    assert lately.get(0.9) == 1 and lately.get(0) == 1
    assert table.waited == [None, AT_ONCE_S, None]


def test_while_a_table_does_not_answer_what_it_said_lately_is_enough_for_those_who_say_so() -> None:
    table = Table()
    lately = table.lately()
    assert lately.get(1.0) == 0
    table.is_away, table.now_s = True, table.now_s + 5
    assert lately.get(1.0) == 0 and lately.get(1.0) == 0
    assert table.waited == [None, AT_ONCE_S], "the second did not wait again"
    with pytest.raises(DependencyError):
        lately.get(0)
    table.is_away, table.rows, table.now_s = False, 1, table.now_s + AT_ONCE_S
    assert lately.get(1.0) == 1


def test_what_was_told_long_ago_is_not_enough() -> None:
    table = Table()
    lately = table.lately()
    lately.get(1.0)
    table.is_away, table.now_s = True, table.now_s + LATELY_S
    with pytest.raises(DependencyError):
        lately.get(1.0)
    assert table.waited == [None, None]


def test_the_first_failure_is_told() -> None:
    table = Table()
    table.is_away = True
    with pytest.raises(DependencyError):
        table.lately().get(1.0)
