"""What is asked for, and what it needs."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Machine:
    """What each machine has."""

    cores: int
    memory_gb: float
    disk_gb: float


@dataclass(frozen=True)
class Load:
    """What is asked for.

    Attributes:
        images: that are kept.
        rate: of images a second that come in.
        searches: a second, over HTTP, each with an image.
        image_bytes: of an encoded image, None for as many as those have that rates were measured with.
        retention_hours: how long Kafka keeps images; -1 for ever.
    """

    images: float
    rate: float
    searches: float
    image_bytes: float | None = None
    retention_hours: float = -1


@dataclass(frozen=True)
class Part:
    """One kind of program: what all of its processes need together, headroom not included but in `machines`."""

    name: str
    processes: int
    cores: float
    memory_gb: float
    disk_gb: float
    machines: int

    @property
    def is_known(self) -> bool:
        """Whether all figures are: where one is not, there may have to be more processes and machines."""
        return not any(math.isnan(each) for each in (self.cores, self.memory_gb, self.disk_gb))


@dataclass(frozen=True)
class Plan:
    """What one engine needs.

    Attributes:
        traffic_mb_per_s: by way.
        problems: why it cannot be done with such machines; nothing else is true then.
        notes: what to know of single figures.
    """

    engine: str
    parts: tuple[Part, ...]
    partitions: int
    search_ms: float | None
    traffic_mb_per_s: dict[str, float]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def machines(self) -> int:
        """All machines."""
        return sum(part.machines for part in self.parts)

    def to_json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        total = {
            name: round(sum(getattr(part, name) for part in self.parts), 3)
            for name in ("processes", "cores", "memory_gb", "disk_gb", "machines")
        }
        found: dict[str, Any] = known({**asdict(self), "total": total})
        return found


def known(figures: Any) -> Any:
    """The same with None for what is not a number."""
    if isinstance(figures, dict):
        return {name: known(each) for name, each in figures.items()}
    if isinstance(figures, list | tuple):
        return [known(each) for each in figures]
    return None if isinstance(figures, float) and math.isnan(figures) else figures
