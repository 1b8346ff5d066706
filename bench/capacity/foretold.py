"""How fresh a sized gallery would be: the simulated pipeline with its embedders and machines."""

import math
from typing import Any, NamedTuple

import numpy as np

from bench.capacity.plans import Load, Machine, Plan
from bench.capacity.rates import Rate, Rates, Results
from bench.capacity.road import Cost, Costs, Places, simulate, steady
from bench.capacity.sizing import EMBEDDER_CORES, REPLICATION

IMAGES_MAX = 2000
SECONDS_MAX = 5.0
# Of the last image, beyond which a queue has grown; the indexer is the only part that there is one of, however many come.
KEPT_UP_WITHIN_S = 1.0


class Foretold(NamedTuple):
    """Milliseconds from the topic to searchable, over so many simulated images."""

    fresh_p50_ms: float
    fresh_p99_ms: float
    kept_up: bool
    images: int


def foretell(made: Plan, load: Load, rates: Rates, machine: Machine, results: Results) -> Foretold | None:
    """What the simulation says of the engine `exact`; None where a rate that it takes was not measured.

    Batches and generations cost what they were found to cost with one embedder (`simulate`), and images what they cost (`costs`).
    Kafka and Cassandra do each image's work once for each copy.
    """
    costs = _costs(rates, results)
    if costs is None or load.rate < 1 or any(math.isnan(part.cores) for part in made.parts):
        return None
    parts = {part.name: part for part in made.parts}
    places = Places(
        kafka=parts["Kafka"].machines * machine.cores / REPLICATION,
        cassandra=parts["Cassandra"].machines * machine.cores / REPLICATION,
        embedder=EMBEDDER_CORES[rates.kind],
        indexer=1.0,
    )
    arrivals_s = steady(load.rate, min(SECONDS_MAX, IMAGES_MAX / load.rate))
    journey = simulate(
        arrivals_s, costs, places, embedders=parts["embedders"].processes, partitions=made.partitions, seed=1
    )
    late_s = float(journey.searchable_s.max() - arrivals_s[-1])
    return Foretold(
        round(float(np.median(journey.fresh_ms)), 1),
        round(float(np.quantile(journey.fresh_ms, 0.99)), 1),
        late_s < KEPT_UP_WITHIN_S and load.rate * costs.indexer.image_s < 1,
        len(arrivals_s),
    )


def _costs(rates: Rates, results: Results) -> Costs | None:
    found: dict[str, Any] | None = results.get("simulate", {}).get("costs_us")
    names = ("kafka", "embedder", "embedder's children", "cassandra", "indexer")
    images = [rates.image_us[name] for name in names]
    if found is None or any(rate.value is None for rate in images):
        return None
    kafka, embedder, decoder, cassandra, indexer = (_s(rate) for rate in images)

    def cost(name: str, image_s: float) -> Cost:
        return Cost(found[name]["time"] / 1e6, image_s)

    return Costs(
        kafka=cost("kafka", kafka),
        embedder=cost("embedder", embedder),
        decoder=cost("decoder", decoder),
        storing=cost("storing", cassandra),
        indexer=cost("indexer", indexer),
        reading=cost("reading", 0.0),
        batch_wait_s=found["batch_wait"] / 1e6,
        image_wait_s=found["image_wait"] / 1e6,
        decoders=max(1, EMBEDDER_CORES[rates.kind] - 1),
    )


def _s(rate: Rate) -> float:
    assert rate.value is not None
    return rate.value / 1e6
