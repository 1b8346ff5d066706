"""The camera child's program: reads EXIF with Pillow. `model.pictures.camera` starts it and says what it is for."""

import io
import math
import re
import sys
import unicodedata
import warnings
from collections.abc import Mapping
from typing import Any

from PIL import Image

from contract.errors import RejectedError
from contract.messages import check_value
from model.limited_program import answer_questions, ended_when_out_of_memory, limit_cpu
from model.pictures.camera import Camera, CameraQuestion
from model.pictures.images import PLUGINS, set_up_pillow
from model.pictures.pillow import samples

TEXT_LENGTH_MAX = 100
_EXIF_IFD, _PLACE_IFD = 0x8769, 0x8825
_MAKE, _MODEL, _ORIENTATION, _SOFTWARE = 0x010F, 0x0110, 0x0112, 0x0131
_EXPOSURE, _F_NUMBER, _ISO, _TAKEN, _OFFSET = 0x829A, 0x829D, 0x8827, 0x9003, 0x9011
_FOCAL_LENGTH, _FOCAL_LENGTH_35MM, _LENS = 0x920A, 0xA405, 0xA434
_LATITUDE_REF, _LATITUDE, _LONGITUDE_REF, _LONGITUDE = 1, 2, 3, 4
# No camera has more; a larger number is damage, or a joke.
_NUMBER_MAX = 1e7


def main(descriptor: int, cpu_limit_s: float, memory_limit_bytes: int) -> None:
    """Answer frames until the parent closes its end, which it also does by dying."""
    for sample in samples():  # loads Pillow's plugins
        camera_of(sample, with_place=False)

    def answer(asked: CameraQuestion) -> Camera:
        limit_cpu(cpu_limit_s)
        found = camera_of(asked.value, with_place=asked.with_place)
        limit_cpu(0)
        return found

    answer_questions(descriptor, memory_limit_bytes, CameraQuestion, answer)


def camera_of(value: bytes, *, with_place: bool) -> Camera:
    """What a camera wrote into an image's file, as far as it can be read.

    Raises:
        MemoryError: it took more than the process may have.
    """
    try:
        media_type = check_value(value)
    except RejectedError:
        return Camera()
    set_up_pillow(accept_truncated=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            exif = Image.open(io.BytesIO(value), formats=(PLUGINS[media_type],)).getexif()
            details = _part(exif, _EXIF_IFD)
            place = _place(_part(exif, _PLACE_IFD)) if with_place else None
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - Pillow raises nearly anything on hostile bytes
            return Camera()
    return _camera(_plain(exif), details, place)


def _part(exif: Image.Exif, number: int) -> dict[int, Any]:
    """A part of the facts as a plain mapping; empty where it is damaged, since the others may be sound."""
    try:
        return _plain(exif.get_ifd(number))
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - as above
        return {}


def _plain(part: Mapping[int, Any]) -> dict[int, Any]:
    found = {}
    for number in list(part):
        try:
            found[number] = part[number]
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - one that is damaged
            continue
    return found


def _camera(exif: Mapping[int, Any], details: Mapping[int, Any], place: tuple[float, float] | None) -> Camera:
    iso, orientation = _number(details.get(_ISO)), exif.get(_ORIENTATION)
    return Camera(
        make=_text(exif.get(_MAKE)),
        model=_text(exif.get(_MODEL)),
        lens=_text(details.get(_LENS)),
        software=_text(exif.get(_SOFTWARE)),
        taken_at=_time(_text(details.get(_TAKEN)), _text(details.get(_OFFSET))),
        exposure_s=_number(details.get(_EXPOSURE)),
        f_number=_number(details.get(_F_NUMBER)),
        iso=None if iso is None else int(iso) or None,
        focal_length_mm=_number(details.get(_FOCAL_LENGTH)),
        focal_length_35mm=_number(details.get(_FOCAL_LENGTH_35MM)),
        orientation=orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else None,
        place=place,
    )


def _text(value: object) -> str:
    """A text of bounded length without what could hide or turn it."""
    if isinstance(value, bytes):
        value = value[: 8 * TEXT_LENGTH_MAX].decode("utf-8", "replace")
    if not isinstance(value, str):
        return ""
    # What stands behind a NUL is what was there before.
    shown = value.partition("\0")[0][: 8 * TEXT_LENGTH_MAX]
    seen = "".join(c if unicodedata.category(c)[0] != "C" else " " for c in shown)
    return " ".join(seen.split())[:TEXT_LENGTH_MAX].strip()


def _number(value: object) -> float | None:
    """A positive number in bounds, of several the first."""
    if isinstance(value, tuple):
        value = value[0] if value else None
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        return None
    return number if math.isfinite(number) and 0 < number <= _NUMBER_MAX else None


def _time(taken: str, offset: str) -> str:
    """An EXIF time in ISO's form; "" for what is none, as cameras write whose clock was never set."""
    parts = re.fullmatch(
        r"([12][0-9]{3}):(0[1-9]|1[0-2]):([0-2][0-9]|3[01]) ([01][0-9]|2[0-3])((?::[0-5][0-9]){2})", taken
    )
    if not parts:
        return ""
    year, month, day, hour, rest = parts.groups()
    zone = offset if re.fullmatch(r"[+-][01][0-9]:[0-5][0-9]", offset) else ""
    return f"{year}-{month}-{day}T{hour}{rest}{zone}"


def _place(part: Mapping[int, Any]) -> tuple[float, float] | None:
    latitude = _degrees(part.get(_LATITUDE), part.get(_LATITUDE_REF), "NS", 90)
    longitude = _degrees(part.get(_LONGITUDE), part.get(_LONGITUDE_REF), "EW", 180)
    return None if latitude is None or longitude is None else (latitude, longitude)


def _degrees(value: object, direction: object, directions: str, degrees_max: int) -> float | None:
    if not isinstance(value, tuple) or len(value) != 3 or not isinstance(direction, str):
        return None
    try:
        degrees, minutes, seconds = (float(part) for part in value)
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        return None
    found = degrees + minutes / 60 + seconds / 3600
    if direction[:1] not in tuple(directions) or not 0 <= found <= degrees_max:
        return None
    return round(-found if direction[0] == directions[1] else found, 6)


if __name__ == "__main__":
    number, cpu_s, memory_bytes = sys.argv[1:]
    ended_when_out_of_memory(lambda: main(int(number), float(cpu_s), int(memory_bytes)))
