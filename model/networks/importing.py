"""Makes an encoder of a network from outside: a folder that appears whole, after the network was tried in processes with limits."""

import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from contract.errors import ConfigurationError
from contract.settings import absolute
from model.encoder import ENCODERS, IMPORTED_NAME, Encoder, encoder_names, imported_names
from model.networks.runtimes import LITE, ONNX, check_onnx_runtime
from model.networks.steps import Steps, write_steps
from model.networks.trial import Trial, try_network
from model.pictures.decoder import Decoder
from model.soundness import hard_pictures

# A vision transformer of base size has 350 MB; one file of 2 GB is more than protobuf can hold.
NETWORK_SIZE_BYTES_MAX = 512 * 1024 * 1024
_THUMBNAIL_SIDE_PX = 256


@dataclass(frozen=True)
class NetworkSource:
    """What is imported.

    Attributes:
        name: that the encoder gets.
        network: its file, of the kind that the ending `kind` says: ``.onnx`` or ``.tflite``.
        credits: whose network it is and under which licence, as the person who imports it says.
    """

    name: str
    network: Path
    kind: str
    steps: Steps
    credits: tuple[str, ...] = ()


def import_network(source: NetworkSource, encoders_dir: Path) -> Encoder:
    """Make the encoder; what goes wrong leaves nothing behind.

    Raises:
        ConfigurationError: the name is taken, or the network cannot be used; the message says why and what to do.
        DependencyError: no child process can be started.
    """
    encoders_dir = absolute(encoders_dir)
    _check_name(source.name, encoders_dir)
    _check_file(source)
    source.steps.check()
    with _new_folder(encoders_dir, source.name) as folder:
        network = folder / (ONNX if source.kind == ".onnx" else LITE)
        shutil.copyfile(source.network, network)
        trial = try_network(network, source.steps)
        assert trial.steps is not None
        write_steps(folder, trial.steps)
        encoder = Encoder(folder)
        card = json.dumps(_card(source, trial, encoder), indent=2, ensure_ascii=False)
        (folder / "card.json").write_text(card + "\n")
        embeddings = np.frombuffer(trial.embeddings, "<f4").reshape(-1, trial.dimensions)
        np.savez_compressed(folder / "reference.npz", embeddings=embeddings)
        _check_in_decoder(encoder, embeddings)
    return Encoder(encoders_dir / source.name)


def _check_name(name: str, encoders_dir: Path) -> None:
    if not IMPORTED_NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} cannot be a name: it has 1 to 63 of a-z, 0-9 and -, and begins with a letter. Choose another --name."
        )
    if name in encoder_names():
        raise ConfigurationError(f"The encoder {name!r} comes with lookalike. Choose another --name.")
    if encoders_dir.is_relative_to(ENCODERS.resolve()):
        raise ConfigurationError(
            f"LOOKALIKE_ENCODERS_DIR={encoders_dir} is where lookalike's own encoders lie. Name another folder."
        )
    if name in imported_names(encoders_dir) or (encoders_dir / name).exists():
        raise ConfigurationError(
            f"There is an encoder {name!r} in {encoders_dir} already. Choose another --name, so that its index stays what it is; or "
            "delete that folder, and with it what was indexed by it."
        )


def _check_file(source: NetworkSource) -> None:
    if not source.network.is_file():
        raise ConfigurationError(f"{source.network} is no file.")
    size = source.network.stat().st_size
    if not 0 < size <= NETWORK_SIZE_BYTES_MAX:
        raise ConfigurationError(
            f"{source.network} has {size:,} bytes, expected 1 to {NETWORK_SIZE_BYTES_MAX:,}: each program that embeds holds it in "
            "memory. Export a smaller network, or weights of 16 or 8 bits."
        )
    if source.kind == ".onnx":
        check_onnx_runtime()


@contextmanager
def _new_folder(encoders_dir: Path, name: str) -> Iterator[Path]:
    """A folder that comes to have its name when all went well, and is gone otherwise."""
    try:
        encoders_dir.mkdir(parents=True, exist_ok=True)
        parent = Path(tempfile.mkdtemp(prefix=".importing-", dir=encoders_dir))
    except OSError as error:
        raise ConfigurationError(
            f"LOOKALIKE_ENCODERS_DIR={encoders_dir} cannot be written: {error}. Name another folder."
        ) from error
    try:
        folder = parent / name
        folder.mkdir()
        yield folder
        for path in folder.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        try:
            folder.rename(encoders_dir / name)
        except OSError as error:
            raise ConfigurationError(
                f"{encoders_dir / name} appeared meanwhile ({error}). Choose another --name."
            ) from error
    finally:
        shutil.rmtree(parent, ignore_errors=True)


def _card(source: NetworkSource, trial: Trial, encoder: Encoder) -> dict[str, Any]:
    assert trial.steps is not None
    steps = trial.steps
    with encoder.network_path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "name": source.name,
        "dimensions": trial.dimensions,
        "thumbnail_side_px": _THUMBNAIL_SIDE_PX,
        "knows_drawings": False,
        "accepts_truncated": True,
        "what": f"Any picture, {steps.width} x {steps.height} pixels, to {trial.dimensions} numbers, by a network from outside.",
        "for": "What its makers say; `python -m model evaluate --photos` measures it.",
        "imported": {
            "file": source.network.name,
            "size_bytes": encoder.network_path.stat().st_size,
            "sha256": digest,
            "on": datetime.now(UTC).date().isoformat(),
            "ms_a_picture": round(1000 * trial.seconds, 1),
        },
        "credits": list(source.credits),
        "fingerprint": encoder.fingerprint,
    }


def _check_in_decoder(encoder: Encoder, expected: np.ndarray[Any, np.dtype[np.float32]]) -> None:
    """Embed the same pictures again as embedder and API will, in the child that they start."""
    values = []
    for picture in hard_pictures().values():
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        values.append(buffer.getvalue())
    decoder = Decoder(encoder.name, encoders_dir=encoder.folder.parent)
    try:
        verdicts = decoder.decode(values).images
    finally:
        decoder.close()
    for name, verdict, embedding in zip(hard_pictures(), verdicts, expected, strict=True):
        if verdict.reason:
            raise ConfigurationError(
                f"The network cannot be used: in the child process that embeds pictures {name} is refused as {verdict.reason}. "
                f"{verdict.detail}"
            )
        if verdict.embedding != embedding.astype("<f4").tobytes():
            raise ConfigurationError(
                f"The network gives another embedding for the same picture in another process ({name}). Export it without dropout "
                "or other chance."
            )
