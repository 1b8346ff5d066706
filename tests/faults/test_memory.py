"""What the processes take of memory, in a real pipeline."""

import pytest

from bench.memory import measure_memory
from contract.settings import Settings


@pytest.mark.thorough
@pytest.mark.timeout(1500)
def test_digits_and_large_images_are_indexed_within_the_stated_memory(settings: Settings) -> None:
    # Compiling the search for the first time takes memory that no later start needs.
    measure_memory(settings, 10, 0)
    figures = measure_memory(settings, 60_000, 60)
    assert figures["digits_embedder_with_children_mb"] <= 250, figures
    assert figures["digits_indexer_mb"] <= 300 + figures["index_mb"], figures
    # The goal is 300; docs/benchmarks.md tells what is known of the rest.
    assert figures["digits_api_mb"] <= 450 + figures["index_mb"], figures
    assert figures["large_embedder_with_children_mb"] <= 1500, figures
