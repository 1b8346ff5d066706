"""The steps around an imported network: data that people choose, which the code here interprets. Nothing out of a file is executed.

A picture is fitted into the network's size (`squeeze`, `crop` or `pad`), its channels are ordered, each value becomes
(value - mean) / scale, and the array is laid out. Of the network's answer one output is taken and, by default, made of length 1.
"""

from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.errors import ConfigurationError
from model.pictures.pillow import on_white

STEPS_FILE = "steps.json"
SIDE_PX_MAX = 1024
FITS = ("squeeze", "crop", "pad")
LAYOUTS = ("nhwc", "nchw")
CHANNELS = ("rgb", "bgr", "grey")
DTYPES = ("float32", "float16", "uint8")
_RESAMPLINGS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
RESAMPLINGS = tuple(_RESAMPLINGS)


class Steps(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What decides an embedding beside the network itself.

    Attributes:
        width, height: pixels that the network looks at.
        fit: `squeeze` keeps all of the picture and not its proportions; `crop` keeps its middle; `pad` keeps all of it, and what is
            left free has the value that the mean becomes, 0.
        mean, scale: for each channel, or one for all; of values from 0 to 255.
        dtype, output: as the network has them; "" takes the only ones.
        is_normalised: whether an embedding is divided by its length.
        version: of how this module interprets the others; another one would make other embeddings of the same picture.
    """

    width: int
    height: int
    layout: Literal["nhwc", "nchw"]
    fit: Literal["squeeze", "crop", "pad"] = "squeeze"
    channels: Literal["rgb", "bgr", "grey"] = "rgb"
    resampling: Literal["bilinear", "bicubic"] = "bilinear"
    mean: tuple[float, ...] = (0.0,)
    scale: tuple[float, ...] = (1.0,)
    dtype: Literal["", "float32", "float16", "uint8"] = ""
    output: str = ""
    is_normalised: bool = True
    version: Literal[1] = 1

    @property
    def channel_count(self) -> int:
        """Numbers that a pixel has."""
        return 1 if self.channels == "grey" else 3

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The shape of the array that the network takes for one picture."""
        if self.layout == "nhwc":
            return 1, self.height, self.width, self.channel_count
        return 1, self.channel_count, self.height, self.width

    def pixels(self, image: Image.Image) -> NDArray[np.generic]:
        """A picture in mode L, RGB or RGBA as the network takes it, without the leading 1 of `shape`; transparent pixels show white."""
        small, left, top = self._fitted(image)
        values = np.asarray(on_white(small).convert("L" if self.channels == "grey" else "RGB"), np.float32)
        values = values.reshape(small.height, small.width, self.channel_count)
        if self.channels == "bgr":
            values = values[..., ::-1]
        mean, scale = (np.array(numbers, np.float32) for numbers in (self.mean, self.scale))
        values = (values - mean) / scale
        if self.fit == "pad":
            room = np.zeros((self.height, self.width, self.channel_count), np.float32)
            room[top : top + small.height, left : left + small.width] = values
            values = room
        if self.layout == "nchw":
            values = values.transpose(2, 0, 1)
        return np.ascontiguousarray(values, self.dtype or "float32")

    def finished(self, answer: NDArray[np.generic]) -> NDArray[np.float32]:
        """Embedding (d,) of what the network answered for one picture; one of length 0 stays as it is."""
        embedding = np.asarray(answer, np.float32).reshape(-1)
        if not self.is_normalised:
            return embedding
        length = float(np.linalg.norm(embedding.astype(np.float64)))
        return (embedding / length).astype(np.float32) if length > 0 else embedding

    def check(self) -> None:
        """Check what types do not say.

        Raises:
            ConfigurationError: a number does not fit; the message says which and what to give instead.
        """
        for name, side in (("width", self.width), ("height", self.height)):
            if not 1 <= side <= SIDE_PX_MAX:
                raise ConfigurationError(f"A {name} of {side} pixels is not between 1 and {SIDE_PX_MAX}.")
        for name, numbers in (("mean", self.mean), ("scale", self.scale)):
            if len(numbers) not in (1, self.channel_count) or not np.isfinite(numbers).all():
                raise ConfigurationError(
                    f"--{name} takes one finite number, or one for each of {self.channel_count} channels: {_text(numbers)} given."
                )
        if not all(self.scale):
            raise ConfigurationError("--scale divides: it must not be 0.")
        if any(self.mean) and max(map(abs, self.mean)) <= 1 and max(map(abs, self.scale)) < 1:
            raise ConfigurationError(
                f"--mean {_text(self.mean)} and --scale {_text(self.scale)} are shares of 1, and pixels go from 0 to 255. Give "
                f"--mean {_text(255 * number for number in self.mean)} --scale {_text(255 * number for number in self.scale)}"
            )
        if self.dtype == "uint8" and (set(self.mean) != {0.0} or set(self.scale) != {1.0}):
            raise ConfigurationError(
                "A network that takes uint8 takes pixels as they are: leave --mean and --scale out."
            )

    def _fitted(self, image: Image.Image) -> tuple[Image.Image, int, int]:
        """The picture as small as the network's, and where it lies in there from the left and from the top."""
        width, height, box = self.width, self.height, None
        if self.fit == "crop":
            scale = min(image.width / width, image.height / height)
            left, top = (image.width - width * scale) / 2, (image.height - height * scale) / 2
            box = (
                max(0.0, left),
                max(0.0, top),
                min(image.width, image.width - left),
                min(image.height, image.height - top),
            )
        elif self.fit == "pad":
            scale = min(width / image.width, height / image.height)
            width, height = (max(1, round(side * scale)) for side in image.size)
        small = image.resize((width, height), _RESAMPLINGS[self.resampling], box=box, reducing_gap=3.0)
        return small, (self.width - width) // 2, (self.height - height) // 2


def read_steps(folder: Path) -> Steps:
    """The steps of an imported encoder's folder.

    Raises:
        ConfigurationError: the file is not what `python -m model import` writes.
    """
    try:
        steps = msgspec.json.decode((folder / STEPS_FILE).read_bytes(), type=Steps, strict=False)
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigurationError(
            f"{folder / STEPS_FILE} cannot be used: {error}. Delete {folder} and import the network again."
        ) from error
    steps.check()
    return steps


def write_steps(folder: Path, steps: Steps) -> None:
    """Write what `read_steps` reads."""
    (folder / STEPS_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(steps), indent=2) + b"\n")


def _text(numbers: object) -> str:
    return " ".join(f"{number:.6g}" for number in numbers)  # type: ignore[attr-defined]
