"""What `GET /v1/images` says of an image beside its record: its history, and what a camera wrote into it."""

import structlog
from fastapi import Request

from api.answers.cameras import CameraAnswer
from api.answers.duplicates import DuplicatesOfImage, duplicates_of
from api.answers.history import HISTORY_RECORDS_MAX, HistoryRecord, history_of, in_effect_order, sized
from api.answers.images import HistoryAnswer, More, unknown_image
from api.answers.problems import ProblemError
from api.live.services import Services
from api.routes.body_memory import take_memory
from contract.errors import DependencyError
from contract.record_key import RecordKey
from gallery.duplicates.current import apart_in, meant_in
from gallery.generations.snapshot import Snapshot
from gallery.store.rows import ImageRecord

logger = structlog.get_logger()


async def look_up_more(
    request: Request, image_id: str, key: RecordKey, record: ImageRecord | None, services: Services
) -> More:
    """What can be looked up of an image now; what cannot is named as missing.

    Args:
        key: of the record that the id means.
        record: None while the store is away.
    """
    missing = []
    history, is_complete = await _history(image_id, services)
    if history is None:
        missing.append("history")
    camera = None
    try:
        camera = await _camera(request, key, record, services)
    except (DependencyError, ProblemError) as error:
        logger.warning("no camera facts", detail=error.detail)
        missing.append("camera")
    duplicates = await _duplicates(image_id, services)
    if duplicates is None:
        missing.append("duplicates")
    return More(camera, history, is_complete, duplicates, missing)


async def look_up_history(image_id: str, services: Services) -> HistoryAnswer:
    """Every record of an id, whether an image has it now or not.

    Raises:
        DependencyError: it cannot be read now.
        ProblemError: 404 ``unknown-image`` where there is none.
    """
    history, is_complete = await _history(image_id, services)
    if history is None:
        raise DependencyError("cassandra", "The history cannot be read now.")
    if not history:
        raise unknown_image(image_id)
    return HistoryAnswer(id=image_id, history=history, complete=is_complete)


async def _duplicates(image_id: str, services: Services) -> list[DuplicatesOfImage] | None:
    snapshot = services.snapshot()
    if not isinstance(snapshot, Snapshot):
        return []  # nobody looks for them
    try:
        sets = await services.records.distinct_sets(services.settings.kafka_topic)
    except DependencyError:
        return None
    groups = await services.duplicates.groups_with(image_id, snapshot.manifest.index_id, services.served.index.name)
    return duplicates_of(image_id, groups, meant_in(snapshot), apart_in(sets))


async def _history(image_id: str, services: Services) -> tuple[list[HistoryRecord] | None, bool]:
    try:
        found = await services.records.image_rows(image_id, services.settings.kafka_topic, services.encoder)
    except DependencyError:
        found = None
    if found is None:
        return None, False
    logs, is_all = found
    rows = in_effect_order(logs)
    records, _ = await services.records.records(sized(rows))
    is_complete = is_all and len(rows) <= HISTORY_RECORDS_MAX
    return history_of(services.collection.name, image_id, rows, records), is_complete


async def _camera(
    request: Request, key: RecordKey, record: ImageRecord | None, services: Services
) -> CameraAnswer | None:
    if record is None:
        raise DependencyError("cassandra", "What the record says is not known.")
    size_bytes = record.size_bytes

    async def original() -> bytes | None:
        await take_memory(request, size_bytes)
        return await services.records.original(key)

    return await services.cameras.facts(key, original)
