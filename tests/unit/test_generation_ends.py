"""What a generation maps ends with the last who holds it, and not once Python looks for cycles, which the API has it do rarely."""

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bench.scenarios import append_changes, current_generation, with_base
from gallery.filters import parse_filter


@pytest.fixture
def no_cycles() -> Iterator[None]:
    """Python looks for no cycles meanwhile."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_cycles")
def test_a_generation_that_was_searched_and_filtered_is_gone_when_nobody_holds_it(tmp_path: Path) -> None:
    embeddings = np.random.default_rng(1).standard_normal((60, 128)).astype(np.float32)
    writer = with_base(tmp_path, embeddings[:50])
    append_changes(writer, [(row, embeddings[row].tobytes()) for row in range(50, 60)], first_offset=50)
    writer.close()
    del writer
    snapshot = current_generation(tmp_path)
    everything = snapshot.filtered(parse_filter('{"must_not": [{"key": "label", "match": {"value": 7}}]}'))
    assert len(snapshot.search(embeddings[0], 10, selection=everything)) == 10
    parts = [weakref.ref(part) for part in (snapshot, snapshot.base, snapshot.base.neighbours, snapshot.base.replaced)]
    del snapshot, everything
    assert [part() for part in parts] == [None] * len(parts)
