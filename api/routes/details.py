"""What `GET /v1/images` says of an image beside its record: its history, and what a camera wrote into it."""

import structlog
from fastapi import Request

from api.answers.cameras import CameraAnswer
from api.answers.history import HISTORY_RECORDS_MAX, HistoryRecord, history_of, in_effect_order, sized
from api.answers.images import More
from api.answers.problems import ProblemError
from api.live.services import Services
from api.routes.body_memory import take_memory
from contract.errors import DependencyError
from contract.record_key import RecordKey
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
    return More(camera, history, is_complete, missing)


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
