"""`min_offsets` and `as_of`: answer only when the index covers what the question is about."""

from dataclasses import asdict

from api.answers.as_of import AskedAsOf, as_of_not_kept, has_come_to, read_as_of
from api.answers.coverage import coverage_of
from api.answers.problems import ProblemError
from api.live.services import Services
from gallery.table.snapshot import AnySnapshot
from runtime.planted import planted

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
    _check_partitions("min_offsets", wanted, services)
    return wanted


def read_asked_as_of(text: str | None, services: Services) -> AskedAsOf | None:
    """The earlier time that is asked for, None for none.

    Raises:
        ProblemError: 400 ``as-of-not-kept``, ``bad-as-of``, ``as-of-future``, ``unknown-partition``.
    """
    if text is None:
        return None
    if services.engine != "exact":
        raise as_of_not_kept()
    asked = read_as_of(text, now_ms=int(services.clock() * 1000))
    _check_partitions("as_of", dict(asked.as_of.offsets), services)
    return asked


async def wait_covered(
    wanted: dict[int, int], wait_ms: int, services: Services, asked: AskedAsOf | None = None
) -> None:
    """Return as soon as the served generation covers all records below `wanted`, and all that an earlier time needs.

    Raises:
        ProblemError: 412 ``not-covered`` with the coverage.
    """

    def is_covered(snapshot: AnySnapshot | None) -> bool:
        if snapshot is None or (services.ends is not None and services.ends.log != snapshot.manifest.log):
            return False  # the topic was created anew: these offsets are of a log that the index does not have yet
        offsets = snapshot.manifest.offsets
        return all(offsets.get(str(partition), 0) >= offset for partition, offset in wanted.items()) and (
            asked is None or has_come_to(snapshot.manifest, services.ends, asked.as_of)
        )

    if (not wanted and asked is None) or planted("api-ignores-min-offsets"):
        return
    if await services.served.wait_until(is_covered, wait_ms / 1000):
        return
    coverage = coverage_of(services.snapshot().manifest, services.ends)
    asks = (
        [f"min_offsets asks for { {str(partition): offset for partition, offset in wanted.items()} }"] if wanted else []
    )
    asks += [f"as_of for {asked.text}"] if asked else []
    raise ProblemError(
        412,
        "not-covered",
        f"After {wait_ms} ms the index covers {coverage.offsets}, {' and '.join(asks)}. Try again, or wait longer with wait_ms.",
        retry=True,
        coverage=asdict(coverage),
    )


def _check_partitions(name: str, wanted: dict[int, int], services: Services) -> None:
    known = _partitions(services)
    unknown = sorted(wanted.keys() - known)
    if unknown:
        raise ProblemError(
            400,
            "unknown-partition",
            f"{name} names partition {unknown[0]}, the topic {services.settings.kafka_topic} has {sorted(known)}. "
            f"Use {name} as an answer gives it.",
        )


def _partitions(services: Services) -> set[int]:
    """The topic's partitions; where Kafka has not said, those that are covered and those that it is created with."""
    if services.ends is not None:
        return set(services.ends.offsets)
    covered = services.served.snapshot.manifest.offsets if services.served.snapshot else {}
    return {int(partition) for partition in covered} | set(range(services.settings.kafka_partitions))
