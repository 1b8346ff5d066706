"""An index that stands still although records wait is told of, with the part that lets it."""

import pytest
from msgspec.structs import replace

from api.live.stalled import Stall, StallWatch, Waiting
from gallery.generations.manifest import FORMAT, LogCoverage, Manifest, PartitionCoverage

NOTHING, IN_KAFKA, IN_FEED = Waiting(False, False), Waiting(True, False), Waiting(True, True)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def manifest_of(next_offset: int) -> Manifest:
    logs = [LogCoverage("images:a", {"0": PartitionCoverage(next_offset, 0)})]
    return replace(Manifest.nothing_yet("a", "e", 128, 1, FORMAT), logs=logs)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def wall_clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(clock: Clock, wall_clock: Clock) -> StallWatch:
    return StallWatch(10.0, wall_clock, steady_clock=clock)


@pytest.mark.parametrize(
    ("waiting", "part"), [(IN_KAFKA, "embedder"), (IN_FEED, "indexer"), (Waiting(True, None), "cassandra")]
)
def test_a_part_is_named_once_coverage_stood_still_for_long_while_records_wait(
    watch: StallWatch, clock: Clock, waiting: Waiting, part: str
) -> None:
    manifest = manifest_of(5)
    for _ in range(10):
        assert watch.look(manifest, waiting) is None
        clock.now_s += 1
    assert watch.look(manifest, waiting) == Stall(part, 1_000_000)
    assert watch.look(manifest, NOTHING) is None


@pytest.mark.parametrize("step_s", [3600, -3600])
def test_a_clock_that_is_set_makes_no_stall_and_hides_none(
    watch: StallWatch, clock: Clock, wall_clock: Clock, step_s: int
) -> None:
    manifest = manifest_of(5)
    assert watch.look(manifest, IN_KAFKA) is None
    wall_clock.now_s += step_s
    clock.now_s += 5
    assert watch.look(manifest, IN_KAFKA) is None
    clock.now_s += 5
    stall = watch.look(manifest, IN_KAFKA)
    assert stall is not None and stall.since_ms == 1_000_000


def test_a_busy_catch_up_is_no_stall(watch: StallWatch, clock: Clock) -> None:
    for offset in range(100):
        assert watch.look(manifest_of(offset), IN_FEED) is None
        clock.now_s += 9


def test_an_idle_index_is_no_stall_however_long(watch: StallWatch, clock: Clock) -> None:
    for _ in range(100):
        assert watch.look(manifest_of(5), NOTHING) is None
        clock.now_s += 9
    assert watch.look(manifest_of(5), IN_KAFKA) is None  # what waits now has only come


def test_a_feed_that_goes_on_is_seen_while_kafka_is_away(watch: StallWatch, clock: Clock) -> None:
    watch.look(manifest_of(5), Waiting(None, True))
    clock.now_s += 11
    assert watch.look(manifest_of(5), Waiting(None, True)) == Stall("indexer", 1_000_000)
    assert watch.look(manifest_of(5), Waiting(None, False)) is None
    clock.now_s += 11
    assert watch.look(manifest_of(5), Waiting(None, None)) is None  # nothing is known, so nobody is blamed
