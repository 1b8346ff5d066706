"""An encoder: a folder with a network, a card, and the preprocessing of pictures.

Those in model/encoders/ come with lookalike: networks for LiteRT, which run without TensorFlow, and preprocessing in Python. Those in
LOOKALIKE_ENCODERS_DIR were imported (`model.networks`): their preprocessing is data, and their network may be ONNX.
"""

import hashlib
import importlib.util
import json
import re
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.errors import ConfigurationError
from contract.settings import absolute, load_settings
from model.networks.runtimes import LITE, ONNX, Network, check_onnx_runtime, open_network
from model.networks.steps import STEPS_FILE, Steps, read_steps

ENCODERS = Path(__file__).with_name("encoders")
IMPORTED_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_CHUNK_SIZE_BYTES = 1024 * 1024


class Encoder:
    """One encoder. `fingerprint` costs two hashes; weights are loaded on first use. Not thread-safe.

    Attributes:
        is_imported: whether its preprocessing is data (`model.networks.steps`).
        network_path: the network's file.
        fingerprint: of what decides an embedding: another byte there makes another encoder with a feed of its own.
    """

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        self.folder = folder
        self.is_imported = (folder / STEPS_FILE).is_file()
        self.network_path = folder / (ONNX if self.is_imported and (folder / ONNX).is_file() else LITE)
        digest = hashlib.sha256()
        for path in (self.network_path, folder / (STEPS_FILE if self.is_imported else "preprocessing.py")):
            digest.update(f"{path.name}:{path.stat().st_size}:".encode())
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK_SIZE_BYTES):
                    digest.update(chunk)
        self.fingerprint = digest.hexdigest()[:16]

    @cached_property
    def card(self) -> dict[str, Any]:
        """What is known of the encoder: data, epochs, loss, quality."""
        return dict(json.loads((self.folder / "card.json").read_text()))

    @property
    def dimensions(self) -> int:
        """Numbers in an embedding."""
        return int(self.card["dimensions"])

    @property
    def thumbnail_side_px(self) -> int:
        """Longer side of the thumbnails that are kept of its images, at most."""
        return int(self.card["thumbnail_side_px"])

    @property
    def copies_within(self) -> float:
        """Distance within which mild copies of its images lie, and few others; 0 where that was not measured."""
        return float(self.card.get("copies_within", 0.0))

    @cached_property
    def pixels(self) -> Callable[[Image.Image], NDArray[Any]]:
        """The encoder's preprocessing: a picture in mode L, RGB or RGBA to what its network takes, (h, w, c) float32 where it is not imported."""
        if self._steps:
            return self._steps.pixels
        path = self.folder / "preprocessing.py"
        spec = importlib.util.spec_from_file_location(f"preprocessing_{self.fingerprint}", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        function: Callable[[Image.Image], NDArray[np.float32]] = module.pixels
        return function

    def embed(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """Embedding (d,) float32 of pixels, as `pixels` gives them.

        One image a call, so that an embedding never depends on its neighbours in a batch. Where all pixels are zero and the
        network's answer is not finite, since it divides by a length of 0, the embedding is zero.
        """
        if self._steps:
            embedding = self._steps.finished(self._network.run(pixels, self._steps.output))
        else:
            embedding = np.asarray(self._network.run(pixels, ""), np.float32)[0]
        if not np.isfinite(embedding).all() and not pixels.any():
            return np.zeros_like(embedding)
        return embedding

    @cached_property
    def _steps(self) -> Steps | None:
        return read_steps(self.folder) if self.is_imported else None

    @cached_property
    def _network(self) -> Network:
        return open_network(self.network_path, self._steps.shape if self._steps else None)


def load_encoder(name: str, encoders_dir: Path | None = None) -> Encoder:
    """The encoder of that name.

    Args:
        encoders_dir: folder of the imported ones; None is what the environment's settings name.

    Raises:
        ConfigurationError: there is none, and the message lists the ones there are; or an imported one is not as it was imported, or
            needs ONNX Runtime, which is not installed.
    """
    # By its name alone: a request may bring any text.
    if name in encoder_names():
        return Encoder(ENCODERS / name)
    imported = _imported_dir(encoders_dir)
    if name not in imported_names(imported):
        known = ", ".join([*encoder_names(), *imported_names(imported)])
        raise ConfigurationError(
            f"There is no encoder {name!r} in model/encoders or LOOKALIKE_ENCODERS_DIR={imported}, only: {known}. "
            f"LOOKALIKE_ENCODER must name one of them. To bring a network of your own: python -m model import --help"
        )
    try:
        encoder = Encoder(imported / name)
        said = encoder.card["fingerprint"], encoder.dimensions, encoder.thumbnail_side_px
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"The encoder in {imported / name} is not whole: {error!r}. Delete the folder and import the network again."
        ) from error
    if said[0] != encoder.fingerprint:
        raise ConfigurationError(
            f"The files in {encoder.folder} are not those that were imported: their fingerprint is {encoder.fingerprint}, the card "
            f"says {said[0]}. Delete the folder and import the network again."
        )
    if encoder.network_path.name == ONNX:
        check_onnx_runtime()
    return encoder


def encoder_names() -> list[str]:
    """Names of all committed encoders."""
    return sorted(path.parent.name for path in ENCODERS.glob("*/encoder.tflite"))


def imported_names(encoders_dir: Path | None = None) -> list[str]:
    """Names of all imported encoders; None is the folder that the environment's settings name."""
    found = _imported_dir(encoders_dir).glob(f"*/{STEPS_FILE}")
    return sorted(path.parent.name for path in found if IMPORTED_NAME.fullmatch(path.parent.name))


def _imported_dir(encoders_dir: Path | None) -> Path:
    return absolute(load_settings().encoders_dir if encoders_dir is None else encoders_dir)
