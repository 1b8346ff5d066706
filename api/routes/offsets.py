"""`min_offsets`: answer only when the index covers a producer's own write."""

from dataclasses import asdict

from api.answers.coverage import coverage_of
from api.answers.problems import ProblemError
from api.live.services import Services
from gallery.generations.snapshot import Snapshot

MIN_OFFSETS_PATTERN = r"^[0-9]{1,9}:[0-9]{1,18}(,[0-9]{1,9}:[0-9]{1,18})*$"


def read_min_offsets(text: str | None, services: Services) -> dict[int, int]:
    """The offset that each partition must be covered up to, from text that has the pattern.

    Raises:
        ProblemError: 400 ``unknown-partition``.
    """
    wanted: dict[int, int] = {}
    for pair in text.split(",") if text else ():
        partition, offset = map(int, pair.split(":"))
        wanted[partition] = max(offset, wanted.get(partition, 0))
    known = _partitions(services)
    unknown = sorted(wanted.keys() - known)
    if unknown:
        raise ProblemError(
            400,
            "unknown-partition",
            f"min_offsets names partition {unknown[0]}, the topic {services.settings.kafka_topic} has {sorted(known)}. "
            "Use min_offsets as a write's answer gives it.",
        )
    return wanted


async def wait_covered(wanted: dict[int, int], wait_ms: int, services: Services) -> None:
    """Return as soon as the served generation covers all records below `wanted`.

    Raises:
        ProblemError: 412 ``not-covered`` with the coverage.
    """

    def is_covered(snapshot: Snapshot | None) -> bool:
        if snapshot is None or (services.ends is not None and services.ends.log != snapshot.manifest.log):
            return False  # the topic was created anew: these offsets are of a log that the index does not have yet
        offsets = snapshot.manifest.offsets
        return all(offsets.get(str(partition), 0) >= offset for partition, offset in wanted.items())

    if await services.served.wait_until(is_covered, wait_ms / 1000):
        return
    coverage = coverage_of(services.snapshot().manifest, services.ends)
    raise ProblemError(
        412,
        "not-covered",
        f"After {wait_ms} ms the index covers {coverage.offsets}, min_offsets asks for "
        f"{ {str(partition): offset for partition, offset in wanted.items()} }. Try again, or wait longer with wait_ms.",
        retry=True,
        coverage=asdict(coverage),
    )


def _partitions(services: Services) -> set[int]:
    """The topic's partitions; where Kafka has not said, those that are covered and those that it is created with."""
    if services.ends is not None:
        return set(services.ends.offsets)
    covered = services.served.snapshot.manifest.offsets if services.served.snapshot else {}
    return {int(partition) for partition in covered} | set(range(services.settings.kafka_partitions))
