"""`GET /v1/index` and its event stream: what is served, how fresh it is, what arrives."""

import asyncio
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

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
from api.answers.problems import describe_problems
from api.answers.records import image_url, source_of
from api.live.services import Services, services_of
from contract.telemetry import CONSUMER_LAG, SNAPSHOT_AGE
from gallery.generations.manifest import Manifest

# Ten a second look like motion, whatever the indexer's pace.
EVENT_INTERVAL_S = 0.1
# A browser that lost the stream asks again after so long.
RECONNECT_MS = 1000

router = APIRouter()


@router.get("/v1/index", responses=describe_problems(503))
async def index(request: Request) -> IndexAnswer:
    """The state of the index as this process serves it."""
    return index_answer(services_of(request))


@router.get("/v1/index/events", response_class=EventSourceResponse, responses=describe_problems(503))
async def events(request: Request) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events named `index`, each the body of `GET /v1/index`: one at once, then one at each change."""
    services = services_of(request)
    sent: IndexAnswer | None = None
    while not services.served.is_closing:
        if services.served.snapshot is not None:
            answer = index_answer(services)
            if sent is None or _differs(answer, sent):
                sent = answer
                yield ServerSentEvent(event="index", data=answer, retry=RECONNECT_MS)
                await asyncio.sleep(EVENT_INTERVAL_S)
                continue
        await services.served.wait_change(60.0)


def index_answer(services: Services) -> IndexAnswer:
    """The state of the index now.

    Raises:
        ProblemError: 503 ``no-generation``.
    """
    snapshot = services.snapshot()
    manifest = snapshot.manifest
    coverage = coverage_of(manifest, services.ends)
    age_s = max(0.0, services.clock() - manifest.published_at_ms / 1000)
    freshness = services.arrivals.freshness()
    lags = lag_by_partition(coverage.offsets, coverage.end_offsets)
    SNAPSHOT_AGE.set(age_s)
    for partition, lag in (lags or {}).items():
        CONSUMER_LAG.labels(partition).set(lag)
    return IndexAnswer(
        index_id=manifest.index_id,
        generation=manifest.generation,
        count=manifest.count,
        coverage=coverage,
        base=BaseSize(name=manifest.base.name, count=manifest.base.count),
        tail=TailSize(entries=manifest.tail.entries, size_bytes=manifest.tail.size_bytes),
        published_at=manifest.published_at_ms,
        age_s=round(age_s, 3),
        lag=None if lags is None else sum(lags.values()),
        rates=Rates(
            in_per_s=round(services.produced_rate.per_s, 1) if services.ends else None,
            out_per_s=round(services.arrivals.covered_rate.per_s, 1),
        ),
        freshness_ms=FreshnessAnswer(
            p50=round(freshness.p50_ms, 1), p99=round(freshness.p99_ms, 1), count=freshness.count
        )
        if freshness
        else None,
        rejected=manifest.rejected,
        expired=manifest.expired,
        newest=[
            NewestImage(
                id=match.image_id,
                thumbnail_url=image_url(match.image_id, match.source, "thumbnail"),
                source=source_of(match.source, match.kafka_time_ms),
            )
            for match in services.arrivals.newest(snapshot)
        ],
        encoder=ServingEncoder(
            name=services.served.index.name,
            fingerprint=services.served.index.fingerprint,
            knows_drawings=services.served.index.knows_drawings,
        ),
        indexes=[
            _encoder_index(services.served.index.name, manifest, services, is_serving=True),
            *(
                _encoder_index(name, other, services, is_serving=False)
                for name, other in services.served.indexes.items()
                if name != services.served.index.name
            ),
        ],
        refused=services.served.refused,
        dependencies=services.dependencies(),
        stalled=stall_answer(services),
    )


def stall_answer(services: Services) -> StallAnswer | None:
    """What lets coverage stand still, if anything does."""
    stall = services.stalls.stall
    return StallAnswer(part=stall.part, since=stall.since_ms) if stall else None


def _encoder_index(name: str, manifest: Manifest, services: Services, *, is_serving: bool) -> EncoderIndex:
    coverage = coverage_of(manifest, services.ends)
    lags = lag_by_partition(coverage.offsets, coverage.end_offsets)
    return EncoderIndex(
        name=name,
        encoder=manifest.encoder,
        index_id=manifest.index_id,
        generation=manifest.generation,
        count=manifest.count,
        offsets=manifest.offsets,
        lag=None if lags is None else sum(lags.values()),
        is_serving=is_serving,
    )


def lag_by_partition(offsets: dict[str, int], end_offsets: dict[str, int] | None) -> dict[str, int] | None:
    """Records that are not covered, by partition; None when Kafka's ends are unknown."""
    if end_offsets is None:
        return None
    return {partition: max(0, end - offsets.get(partition, 0)) for partition, end in end_offsets.items()}


def _differs(answer: IndexAnswer, sent: IndexAnswer) -> bool:
    return answer.model_copy(update={"age_s": sent.age_s}) != sent
