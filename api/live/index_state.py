"""The state of the index as this process serves it: what it covers, how fresh it is, what arrives."""

from api.answers.coverage import coverage_of
from api.answers.index import (
    BaseSize,
    EncoderIndex,
    FreshnessAnswer,
    IndexAnswer,
    NewestImage,
    Rates,
    ServingEncoder,
    StallAnswer,
    TailSize,
)
from api.answers.records import image_url, source_of
from api.live.arrivals import Freshness
from api.live.services import Services
from contract.telemetry import CONSUMER_LAG, SNAPSHOT_AGE
from gallery.generations.manifest import Manifest
from gallery.generations.snapshot import Match


def index_answer(services: Services) -> IndexAnswer:
    """The state of the index now; sets the gauges of age and lag.

    Raises:
        ProblemError: 503 ``no-generation``.
    """
    snapshot = services.snapshot()
    manifest, serving, freshness = snapshot.manifest, services.served.index, services.arrivals.freshness()
    coverage = coverage_of(manifest, services.ends)
    age_s = max(0.0, services.clock() - manifest.published_at_ms / 1000)
    lags = _lag_by_partition(coverage.offsets, coverage.end_offsets)
    collection = services.collection.name
    SNAPSHOT_AGE.labels(collection).set(age_s)
    for partition, lag in (lags or {}).items():
        CONSUMER_LAG.labels(collection, partition).set(lag)
    return IndexAnswer(
        index_id=manifest.index_id,
        generation=manifest.generation,
        count=manifest.count,
        coverage=coverage,
        base=BaseSize(name=manifest.base.name, count=manifest.base.count),
        tail=TailSize(entries=manifest.tail.entries, size_bytes=manifest.tail.size_bytes),
        published_at=manifest.published_at_ms,
        age_s=round(age_s, 3),
        lag=_sum(lags),
        rates=_rates(services),
        freshness_ms=_freshness_answer(freshness) if freshness else None,
        rejected=manifest.rejected,
        expired=manifest.expired,
        newest=[_newest_image(collection, match) for match in services.arrivals.newest(snapshot)],
        encoder=ServingEncoder(
            name=serving.name, fingerprint=serving.fingerprint, knows_drawings=serving.queries.knows_drawings
        ),
        indexes=_encoder_indexes(services, manifest),
        engine=services.engine,
        recall=None if services.engine == "exact" else services.recall.means(),
        recall_searches=None if services.engine == "exact" else services.recall.counts(),
        search_by_address=services.addresses.are_searched,
        refused=services.served.refused,
        dependencies=services.dependencies(),
        stalled=stall_answer(services),
    )


def stall_answer(services: Services) -> StallAnswer | None:
    """What lets coverage stand still, if anything does."""
    stall = services.stalls.stall
    return StallAnswer(part=stall.part, since=stall.since_ms) if stall else None


def _rates(services: Services) -> Rates:
    return Rates(
        in_per_s=round(services.produced_rate.per_s, 1) if services.ends else None,
        out_per_s=round(services.arrivals.covered_rate.per_s, 1),
    )


def _freshness_answer(freshness: Freshness) -> FreshnessAnswer:
    return FreshnessAnswer(p50=round(freshness.p50_ms, 1), p99=round(freshness.p99_ms, 1), count=freshness.count)


def _newest_image(collection: str, match: Match) -> NewestImage:
    return NewestImage(
        id=match.image_id,
        thumbnail_url=image_url(collection, match.image_id, match.source, "thumbnail"),
        source=source_of(match.source, match.kafka_time_ms),
    )


def _encoder_indexes(services: Services, manifest: Manifest) -> list[EncoderIndex]:
    """Of every encoder, first the one that answers, from the generation with this manifest."""
    serving = services.served.index.name
    others = [(name, other) for name, other in services.served.indexes.items() if name != serving]
    return [
        _encoder_index(name, each, services, is_serving=each is manifest)
        for name, each in [(serving, manifest), *others]
    ]


def _encoder_index(name: str, manifest: Manifest, services: Services, *, is_serving: bool) -> EncoderIndex:
    coverage = coverage_of(manifest, services.ends)
    return EncoderIndex(
        name=name,
        encoder=manifest.encoder,
        index_id=manifest.index_id,
        generation=manifest.generation,
        count=manifest.count,
        offsets=manifest.offsets,
        lag=_sum(_lag_by_partition(coverage.offsets, coverage.end_offsets)),
        is_serving=is_serving,
    )


def _lag_by_partition(offsets: dict[str, int], end_offsets: dict[str, int] | None) -> dict[str, int] | None:
    """Records that are not covered, by partition; None when Kafka's ends are unknown."""
    if end_offsets is None:
        return None
    return {partition: max(0, end - offsets.get(partition, 0)) for partition, end in end_offsets.items()}


def _sum(lags: dict[str, int] | None) -> int | None:
    return None if lags is None else sum(lags.values())
