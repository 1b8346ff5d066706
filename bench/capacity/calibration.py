"""What each program costs in the simulated pipeline, from measurements with one embedder: so much for an image, a batch and a generation.

With one embedder the same programs worked at full speed, in large batches, and at a steady rate, in small ones. What they took of the
processor then, less what they take while nothing comes, is divided over images, batches and generations by least squares, and nothing
may cost less than nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import brentq, nnls

from bench.capacity.road import Cost, Costs, Journey, Places, at_once, simulate, steady

# What is no program of ours, and what the measurement itself takes, leaves fewer cores.
MEASURING = "this measurement"
_CORES_MIN = 0.05
_EMBEDDERS = ("embedder", "embedder's children")


class Part(NamedTuple):
    """One part of a measurement: at full speed, where `rate` is None, or at a steady rate.

    Attributes:
        cores: that neither other work nor the measurement used meanwhile, nor our programs would use while nothing comes.
        idle_cores: that each program uses while nothing comes, with one embedder.
    """

    embedders: int
    rate: float | None
    seconds: float
    cores: float
    figures: Mapping[str, Any]
    idle_cores: Mapping[str, float]

    @property
    def images(self) -> int:
        """How many went through."""
        return int(self.figures["images"])

    def taken_s(self, *programs: str) -> float:
        """Processor time of these programs beyond what they take while nothing comes."""
        idle_s: float = self.figures["wall_s"] * sum(self.idle_cores.get(name, 0.0) for name in programs)
        taken: float = sum(self.figures["processor_s"].get(name, 0.0) for name in programs)
        return max(0.0, taken - idle_s)


def parts_of(scaling: Mapping[str, Any]) -> list[Part]:
    """All parts of all rounds."""
    found, idle = [], _idle_cores(scaling)
    for row in scaling["rounds"]:
        for rate, figures in ((None, row["full_speed"]), *((each["rate_per_s"], each) for each in row["steady"])):
            measuring = figures["processor_s"].get(MEASURING, 0.0) / figures["wall_s"]
            waiting = sum(cores * (row["embedders"] if name in _EMBEDDERS else 1) for name, cores in idle.items())
            cores = scaling["machine"]["cores"] - figures["cores_of_others"] - measuring - waiting
            seconds = figures["images"] / rate if rate else 0.0
            found.append(Part(row["embedders"], rate, seconds, max(cores, _CORES_MIN), figures, idle))
    return found


def _idle_cores(scaling: Mapping[str, Any]) -> dict[str, float]:
    """What each program takes while nothing comes, as it was with one embedder; nothing where that was not measured."""
    waiting = [row["idle"] for row in scaling["rounds"] if row["embedders"] == 1 and "idle" in row]
    names = {name for each in waiting for name in each["processor_s"]} - {MEASURING}
    return {
        name: float(np.median([each["processor_s"].get(name, 0.0) / each["wall_s"] for each in waiting]))
        for name in sorted(names)
    }


def calibrated(parts: Sequence[Part], partitions: int) -> Costs:
    """The costs that the parts with one embedder tell of.

    What images wait without computing is chosen so that the simulation with one embedder is as fast, at full speed, as one embedder
    was, and what a batch waits so that it is as fresh at the lowest steady rate.

    Raises:
        LookupError: there are none at full speed, or none at a steady rate.
    """
    one = [part for part in parts if part.embedders == 1]
    if not any(part.rate is None for part in one) or all(part.rate is None for part in one):
        raise LookupError("one embedder was not measured at full speed and at a steady rate")
    cassandra = _divided(one, ("cassandra",), ("batches", "generations", "images"))
    kafka, embedder, decoder = (_cost(one, name, "batches") for name in ("kafka", "embedder", "embedder's children"))
    costs = Costs(
        kafka=kafka,
        embedder=embedder,
        decoder=decoder,
        storing=Cost(cassandra[0], cassandra[2]),
        indexer=_cost(one, "indexer", "generations"),
        reading=Cost(cassandra[1], 0.0),
    )
    full = [part for part in one if part.rate is None]
    costs = _with_wait(
        costs, "image_wait_s", full, partitions, lambda part: 1000 * part.images / part.figures["searchable_per_s"]
    )
    lowest = min(part.rate for part in one if part.rate is not None)
    slow = [part for part in one if part.rate == lowest]
    return _with_wait(costs, "batch_wait_s", slow, partitions, lambda part: part.figures["p50_ms"])


def simulated_ms(part: Part, costs: Costs, partitions: int) -> float:
    """At full speed until all are searchable, at a steady rate half of the images."""
    journey = predicted(part, costs, partitions)
    return float(1000 * journey.searchable_s.max() if part.rate is None else np.median(journey.fresh_ms))


def _with_wait(
    costs: Costs, name: str, parts: Sequence[Part], partitions: int, measured_ms: Callable[[Part], float]
) -> Costs:
    """The costs with the wait of that name for which the simulation takes as long as was measured; none where it takes longer without."""
    wanted_ms = float(np.median([measured_ms(part) for part in parts]))

    def waiting_for(wait_s: float) -> Costs:
        changed: dict[str, Any] = {name: wait_s}
        return replace(costs, **changed)

    def missing_ms(wait_s: float) -> float:
        return float(np.median([simulated_ms(part, waiting_for(wait_s), partitions) for part in parts])) - wanted_ms

    if missing_ms(0.0) >= 0:
        return costs
    # A wait is never longer than all that is to be explained: at full speed those of all images follow each other.
    longest_s = wanted_ms / 1000 / (parts[0].images if parts[0].rate is None else 1)
    return waiting_for(float(brentq(missing_ms, 0.0, longest_s, xtol=longest_s / 2000, maxiter=30)))


def predicted(part: Part, costs: Costs, partitions: int) -> Journey:
    """What the simulation makes of the same images under the same conditions."""
    arrivals_s = at_once(part.images) if part.rate is None else steady(part.rate, part.seconds)
    return simulate(
        arrivals_s, costs, Places(shared=part.cores), embedders=part.embedders, partitions=partitions, seed=1
    )


def _cost(parts: Sequence[Part], program: str, times: str) -> Cost:
    time_s, image_s = _divided(parts, (program,), (times, "images"))
    return Cost(time_s, image_s)


def _divided(parts: Sequence[Part], programs: tuple[str, ...], over: tuple[str, ...]) -> list[float]:
    """Seconds of each unit; every part counts alike, whatever its length."""
    taken_s = np.array([part.taken_s(*programs) for part in parts])
    units = np.array([[float(part.figures[name]) for name in over] for part in parts])
    scale = np.maximum(taken_s, 1e-9)
    found, _ = nnls(units / scale[:, None], taken_s / scale)
    return [float(each) for each in found]
