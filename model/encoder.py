"""An encoder: a folder in model/encoders/ with weights, card and preprocessing, run by LiteRT without TensorFlow."""

import hashlib
import importlib.util
import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.errors import ConfigurationError

ENCODERS = Path(__file__).with_name("encoders")
# What decides an embedding: another byte in one of them makes another encoder with a feed of its own.
FINGERPRINTED = ("encoder.tflite", "preprocessing.py")


class Encoder:
    """One encoder. `fingerprint` costs two hashes; weights are loaded on first use. Not thread-safe."""

    def __init__(self, folder: Path) -> None:
        self.name = folder.name
        self.folder = folder
        digest = hashlib.sha256()
        for name in FINGERPRINTED:
            content = (folder / name).read_bytes()
            digest.update(f"{name}:{len(content)}:".encode() + content)
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

    @cached_property
    def pixels(self) -> Callable[[Image.Image], NDArray[np.float32]]:
        """The encoder's preprocessing: a picture in mode L, RGB or RGBA to (h, w, c) float32, as its network takes them."""
        path = self.folder / "preprocessing.py"
        spec = importlib.util.spec_from_file_location(f"preprocessing_{self.fingerprint}", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        function: Callable[[Image.Image], NDArray[np.float32]] = module.pixels
        return function

    def embed(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Embedding (d,) float32 of pixels (h, w, c) float32, as `pixels` gives them.

        One image a call, so that an embedding never depends on its neighbours in a batch. Of pixels that are all zero it is
        zero where the network has no finite one: there it divides by the length of nothing, 0 by 0 in LiteRT.
        """
        interpreter, input_index, output_index = self._interpreter
        interpreter.set_tensor(input_index, pixels[None])
        interpreter.invoke()
        embedding: NDArray[np.float32] = interpreter.get_tensor(output_index)[0]
        if not np.isfinite(embedding).all() and not pixels.any():
            return np.zeros_like(embedding)
        return embedding

    @cached_property
    def _interpreter(self) -> tuple[Any, int, int]:
        from ai_edge_litert.interpreter import Interpreter  # 0.2 s and 60 MB: only where images are embedded

        interpreter = Interpreter(str(self.folder / "encoder.tflite"), num_threads=1)
        interpreter.allocate_tensors()
        return interpreter, interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]


def load_encoder(name: str) -> Encoder:
    """The encoder of that name.

    Raises:
        ConfigurationError: there is none; the message lists the ones there are.
    """
    folder = ENCODERS / name
    if not (folder / "encoder.tflite").is_file():
        known = ", ".join(encoder_names())
        raise ConfigurationError(
            f"There is no encoder {name!r} in model/encoders, only: {known}. LOOKALIKE_ENCODER must name one of them."
        )
    return Encoder(folder)


def encoder_names() -> list[str]:
    """Names of all committed encoders."""
    return sorted(path.parent.name for path in ENCODERS.glob("*/encoder.tflite"))
