"""`/v1/duplicates`: groups of images that are the same, altered copies, or near; and what a person said are none."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.answers.duplicates import (
    DistinctAnswer,
    DistinctSets,
    DuplicateProgress,
    DuplicatesAnswer,
    NoDuplicates,
    distinct_answer,
    group_answer,
    run_answer,
    run_gone,
    shown_groups,
)
from api.answers.finding import find_image
from api.answers.images import unknown_image
from api.answers.problems import ProblemError, describe_problems
from api.answers.records import record_text
from api.live.collections import services_of
from api.live.services import Services
from api.routes.offsets import read_min_offsets, wait_covered
from api.routes.parameters import MinOffsets, WaitMs
from api.routes.writers import check_writer
from contract.errors import DependencyError
from contract.messages import check_image_id
from contract.record_key import RecordKey
from gallery.duplicates.current import apart_in, meant_in, record_of
from gallery.duplicates.found import CLASSES, DuplicateClass, FoundDuplicates
from gallery.generations.snapshot import Snapshot
from gallery.store.distinct import DistinctSet
from gallery.table.snapshot import AnySnapshot

CURSOR_PATTERN = r"^[0-9a-f]{16}:[0-9]{1,9}$"
GROUPS_MAX, IMAGES_MAX = 100, 100

router = APIRouter()

Kinds = Annotated[list[DuplicateClass] | None, Query(alias="class", description="Only these classes; may be repeated.")]
Distance = Annotated[
    float | None,
    Query(
        ge=0,
        allow_inf_nan=False,
        description="Within which images are compared; without it what the encoder's card says. Each distance is a run of its own.",
    ),
]
Cursor = Annotated[
    str | None,
    Query(
        pattern=CURSOR_PATTERN,
        description="`next` of the page before: the next page of the same run, or 410 `run-gone`.",
    ),
]


@router.get(
    "/duplicates",
    responses=describe_problems(400, 404, 410, 412, 503)
    | {202: {"model": DuplicatesAnswer, "description": "The first run is going on; ask again"}},
)
async def duplicates(
    request: Request,
    response: Response,
    kinds: Kinds = None,
    max_distance: Distance = None,
    limit: Annotated[int, Query(ge=1, le=GROUPS_MAX, description="Groups of a page.")] = 20,
    cursor: Cursor = None,
    group: Annotated[
        int | None, Query(ge=0, description="Only the group of that number, with any of its images.")
    ] = None,
    images: Annotated[int, Query(ge=2, le=IMAGES_MAX, description="Images of a group.")] = 20,
    images_offset: Annotated[int, Query(ge=0, description="Leave out so many of a group's first images.")] = 0,
    min_offsets: MinOffsets = None,
    wait_ms: WaitMs = 0,
    refresh: Annotated[bool, Query(description="Have the next run begin now.")] = False,
) -> DuplicatesAnswer:
    """Groups of duplicates in all that was searched, the best image of each first.

    A run in the background compares every image with every other one; this answers from the newest run that has ended. Images that
    were deleted or replaced since are left out, and what is left alone is no group. A run that is older than a minute, and than ten
    times what it took, is followed by the next one as soon as somebody asks.
    """
    services = services_of(request)
    await wait_covered(read_min_offsets(min_offsets, services), wait_ms, services)
    snapshot = _compared(services.snapshot())
    found, is_running = await _newest(
        services, snapshot, max_distance, begins=cursor is None and group is None, at_once=refresh
    )
    told = await services.duplicates.progress(snapshot.manifest.index_id) if is_running else None
    progress = DuplicateProgress(step=told.step, share=told.share) if told else None
    if found is None:
        if cursor is not None:
            raise run_gone()
        response.status_code = 202
        return DuplicatesAnswer(state="computing", progress=progress, run=None, groups=[], next=None, degraded=[])
    degraded = []
    try:
        sets = await services.records.distinct_sets(services.settings.kafka_topic)
    except DependencyError:
        sets, degraded = [], ["distinct"]
    is_meant = meant_in(snapshot)
    shown, end = shown_groups(
        found,
        is_meant,
        apart_in(sets),
        numbers=_numbers(found, cursor, group),
        kinds=frozenset(kinds or CLASSES),
        limit=limit,
        images=slice(images_offset, images_offset + images),
    )
    records, is_complete = await services.records.records([record_of(image) for each in shown for image in each.images])
    return DuplicatesAnswer(
        state="computing" if progress else "ready",
        progress=progress,
        run=run_answer(found, is_current=found.digest == snapshot.manifest.digest),
        groups=[group_answer(each, records, is_meant, services.collection.name) for each in shown],
        next=None if end is None else f"{found.run}:{end}",
        degraded=[*degraded, *([] if is_complete else ["metadata"])],
    )


@router.get("/duplicates/distinct", responses=describe_problems(503))
async def distinct(request: Request) -> DistinctSets:
    """All that people said are no duplicates."""
    services = services_of(request)
    sets = await services.records.distinct_sets(services.settings.kafka_topic)
    return DistinctSets(sets=[distinct_answer(each) for each in sets])


@router.post("/duplicates/distinct", responses=describe_problems(400, 403, 404, 409, 503))
async def remember_distinct(request: Request, told: NoDuplicates) -> DistinctAnswer:
    """Remember that no two of these images are duplicates, as long as their ids mean the records that they mean now."""
    services = services_of(request)
    check_writer(request, services.settings.api_allowed_hosts)
    snapshot = services.snapshot()
    meant = [(image.id, await _meant(image.id, image.at, snapshot)) for image in told.images]
    if len(set(meant)) < 2:
        raise ProblemError(400, "bad-images", "All of these are one image: name at least two.")
    made: DistinctSet = await services.records.remember_distinct(services.settings.kafka_topic, meant)
    return distinct_answer(made)


@router.delete("/duplicates/distinct", status_code=204, responses=describe_problems(400, 403, 503))
async def forget_distinct(
    request: Request, name: Annotated[str, Query(pattern="^[0-9a-f]{32}$", description="Of the set.")]
) -> None:
    """Forget that these images are no duplicates, known or not."""
    services = services_of(request)
    check_writer(request, services.settings.api_allowed_hosts)
    await services.records.forget_distinct(services.settings.kafka_topic, name)


def _compared(snapshot: AnySnapshot) -> Snapshot:
    """A generation, whose images can be compared with one another."""
    if not isinstance(snapshot, Snapshot):
        raise ProblemError(
            400,
            "no-duplicates",
            "Duplicates are looked for in an index in memory: this collection's engine is cassandra. Create one with the engine exact.",
        )
    return snapshot


async def _newest(
    services: Services, snapshot: Snapshot, max_distance: float | None, *, begins: bool, at_once: bool
) -> tuple[FoundDuplicates | None, bool]:
    """The newest run within that distance, and whether another one may be going on; has the next one begin if it is time.

    Raises:
        ProblemError: 503 ``duplicates-failed``.
    """
    runs = services.duplicates
    if max_distance is None:
        max_distance = await runs.distance_of(services.served.index.name)
    found = await runs.found(snapshot.manifest.index_id, max_distance)
    if begins and runs.is_due(found, snapshot.manifest.digest, at_once=at_once):
        await runs.start(max_distance)
    is_running = await runs.progress(snapshot.manifest.index_id) is not None
    if found is None and not is_running:
        found = await runs.found(snapshot.manifest.index_id, max_distance)  # it may have ended just now
        if found is None and runs.failure:
            raise ProblemError(503, "duplicates-failed", f"{runs.failure} Try again in half a minute.", retry=True)
    return found, is_running


def _numbers(found: FoundDuplicates, cursor: str | None, group: int | None) -> range:
    """Groups to look at, in order."""
    if group is not None:
        if group >= len(found.groups):
            raise ProblemError(
                404, "unknown-group", f"There is no group {group} in this run, it has {len(found.groups)}."
            )
        return range(group, group + 1)
    if cursor is None:
        return range(len(found.groups))
    run, _, number = cursor.partition(":")
    if run != found.run:
        raise run_gone()
    return range(int(number), len(found.groups))


async def _meant(image_id: str, at: str | None, snapshot: AnySnapshot) -> RecordKey:
    """The record that a person saw, which must be the one that the id means."""
    check_image_id(image_id)
    found = await find_image(snapshot, image_id)
    if found is None:
        raise unknown_image(image_id)
    if at is not None and at != record_text(found.source):
        raise ProblemError(
            409,
            "replaced",
            f"The image {image_id[:300]!r} was replaced since: it comes from {record_text(found.source)} now. Look again.",
        )
    return found.source
