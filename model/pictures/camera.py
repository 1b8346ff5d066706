"""What a camera wrote into a picture's file: read in a child process with limits (`model.pictures.camera_program`)."""

import msgspec

from model.limited_process import CPU_LIMIT_S, MEMORY_LIMIT_BYTES, WALL_LIMIT_S, LimitedProcess

# Every format's name for the part of a file that holds such facts. TIFF has no such part: it is one.
_SIGNS = (b"Exif", b"eXIf", b"EXIF", b"II*\0", b"MM\0*")


class Camera(msgspec.Struct, frozen=True, array_like=True):
    """Facts that are safe to show: nothing of whom the camera belongs to, no number of it. "" or None where the file says nothing.

    Attributes:
        taken_at: as YYYY-MM-DDTHH:MM:SS, with an offset from UTC where the file has one.
        exposure_s, f_number, iso, focal_length_mm, focal_length_35mm: positive and finite.
        orientation: how EXIF says that the pixels are turned, 1 to 8.
        place: latitude and longitude in degrees; read on request only.
    """

    make: str = ""
    model: str = ""
    lens: str = ""
    software: str = ""
    taken_at: str = ""
    exposure_s: float | None = None
    f_number: float | None = None
    iso: int | None = None
    focal_length_mm: float | None = None
    focal_length_35mm: float | None = None
    orientation: int | None = None
    place: tuple[float, float] | None = None


class CameraQuestion(msgspec.Struct, frozen=True, array_like=True):
    """An image's file, and whether the place is wanted."""

    value: bytes
    with_place: bool = False


class CameraReader(LimitedProcess):
    """Reads what cameras wrote in a child of its own, which is not there before the first question."""

    def __init__(self, *, cpu_limit_s: float = CPU_LIMIT_S, memory_limit_bytes: int = MEMORY_LIMIT_BYTES) -> None:
        super().__init__(
            "camera",
            program="model.pictures.camera_program",
            arguments=[str(cpu_limit_s), str(memory_limit_bytes)],
            wall_limit_s=WALL_LIMIT_S,
        )

    def read(self, value: bytes, *, with_place: bool = False) -> Camera | None:
        """What a camera wrote into an image's file; None for nothing, and where the child ended on it, twice. Blocks.

        Raises:
            DependencyError: a child cannot be started, which is no image's fault.
        """
        if not any(sign in value for sign in _SIGNS):
            return None
        with self._lock:
            found = self._call_again(CameraQuestion(value, with_place), Camera)
        return None if found == Camera() else found
