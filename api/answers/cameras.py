"""What cameras wrote into the images of the gallery, from their originals."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable

import anyio.to_thread
from pydantic import BaseModel, Field

from api.answers.bounded_work import BoundedWork
from contract.record_key import RecordKey
from contract.settings import Settings
from model.pictures.camera import Camera, CameraReader

READS_WAITING_MAX = 16
CACHE_RECORDS_MAX = 4096


class Place(BaseModel):
    """Where a picture was taken, in degrees."""

    latitude: float
    longitude: float


class CameraAnswer(BaseModel):
    """What a camera or program wrote into the file, as EXIF. "" or null where it says nothing; never who, and no serial number."""

    make: str
    model: str
    lens: str
    software: str
    taken_at: str = Field(description="The camera's own time, with its offset from UTC if the file has one.")
    exposure_s: float | None
    f_number: float | None
    iso: int | None
    focal_length_mm: float | None
    focal_length_35mm: float | None = Field(description="Of a lens that shows as much on 35 mm film.")
    orientation: int | None = Field(description="How the stored pixels are turned, 1 to 8; sizes are after turning.")
    place: Place | None = Field(description="Null unless the setting `LOOKALIKE_SHOW_PLACE` is true.")


class Cameras:
    """Owns the child that reads files, and keeps what it found: a record never changes. Used on the event loop only."""

    def __init__(self, settings: Settings) -> None:
        self._with_place = settings.show_place
        self._reader = CameraReader()
        self._work = BoundedWork(1, READS_WAITING_MAX)
        self._known: OrderedDict[RecordKey, CameraAnswer | None] = OrderedDict()

    async def facts(self, key: RecordKey, original: Callable[[], Awaitable[bytes | None]]) -> CameraAnswer | None:
        """What was written into the image that a record brought; None for nothing.

        Args:
            original: the image's bytes, None when there are none.

        Raises:
            DependencyError: no child can be started, or `original` raised it.
            ProblemError: 503 ``busy``.
        """
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        value = await original()
        if value is None:
            return None
        found, _ = await self._work.run(lambda: self._reader.read(value, with_place=self._with_place))
        self._known[key] = _answer(found) if found else None
        if len(self._known) > CACHE_RECORDS_MAX:
            self._known.popitem(last=False)
        return self._known[key]

    async def stop(self) -> None:
        """End the child."""
        await anyio.to_thread.run_sync(self._reader.close)


def _answer(camera: Camera) -> CameraAnswer:
    place = Place(latitude=camera.place[0], longitude=camera.place[1]) if camera.place else None
    told = {name: getattr(camera, name) for name in camera.__struct_fields__}
    return CameraAnswer(**{**told, "place": place})
