"""How often generations are made: fewer, the longer each takes, so that little is spent on them where there is little to spare."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from contract.settings import load_settings
from workers.indexed import IndexedCollection
from workers.indexers import REST_S_MAX, Indexers


class Stepping:
    """An indexer whose every step finds something and takes as long as the test says."""

    is_building = False
    partition_count = 4

    def __init__(self, took_s: float, *, is_behind: bool) -> None:
        self.now_s, self._took_s, self.is_behind = 0.0, took_s, is_behind

    def step(self, rows_max: int) -> bool:
        self.now_s += self._took_s
        return True

    def close(self) -> None:
        """Hold nothing."""


@pytest.mark.parametrize(
    ("took_s", "is_behind", "rest_s"),
    [(0.01, False, 0.01), (0.1, False, 0.1), (5.0, False, REST_S_MAX), (0.1, True, 0.0)],
)
def test_indexer_rests_for_as_long_as_a_generation_took_unless_it_is_behind(
    took_s: float, is_behind: bool, rest_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stepping = Stepping(took_s, is_behind=is_behind)

    def opened(_: Indexers, slot: IndexedCollection) -> None:
        slot.indexer = stepping  # type: ignore[assignment]

    monkeypatch.setattr(Indexers, "_open", opened)
    store: Any = SimpleNamespace(registry=SimpleNamespace(collections=dict))
    indexers = Indexers(load_settings(var_dir=tmp_path), store, threading.Event(), clock=lambda: stepping.now_s)
    try:
        indexers.follow()
        indexers.step()
        stepping.now_s += rest_s * 0.99
        before_s = stepping.now_s
        indexers.step()
        assert (stepping.now_s == before_s) == (rest_s > 0)
        stepping.now_s += rest_s * 0.02
        before_s = stepping.now_s
        indexers.step()
        assert stepping.now_s > before_s
    finally:
        indexers.close()
