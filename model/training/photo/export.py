"""Puts the parts of the encoder for photographs together, for LiteRT, and writes its folder.

An embedding has two halves. The first says what is alike: Lite0's own features, rotated and weighed so that altered copies of a
photograph, and photographs of one folder, come near. The second finds copies: the tuned features, whitened, so that all other
photographs are about equally far away and the first half alone decides between them.
"""

import importlib.metadata
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from model.encoder import ENCODERS, Encoder
from model.encoders.photo.preprocessing import SIDE_PX, pixels
from model.soundness import check_embeddings, hard_pictures
from model.training.card import write_card
from model.training.export import to_lite
from model.training.photo import network
from model.training.photo.pretrained import PACKAGE, load_weights
from model.training.photo.projections import Projection, discriminant, whitening
from model.training.photo.train import BATCH_PHOTOGRAPHS, COPIES_CHECKPOINT, copies_model, is_held_out
from model.training.photo.views import VIEW_SIDE_PX, Views, load_photograph, make_views
from model.training.train import read_history
from runtime.progress import progress_line

ALIKE_NUMBERS, COPIES_NUMBERS = 96, 160
# How much copies count beside likeness.
COPIES_WEIGHT = 1.5
_EPSILON = 1e-6
_BATCH = 60
# Photographs whose altered views say what an edit changes in Lite0's features, and how many of them.
_ALTERED_PHOTOGRAPHS, _ALTERED_VIEWS = 2000, 4
_WORKING_SIDE_PX = 512


def export_photos(images: Path, trained: Path, name: str, credits: list[str]) -> None:
    """Write the encoder's folder but its preprocessing, from what `train_photos` left in `trained` and the same photographs.

    Args:
        credits: whose photographs these are, and under which licences; they go on the card.

    Raises:
        ConfigurationError: some picture would have no embedding of finite numbers; the folder is as it was.
    """
    folder, views = ENCODERS / name, make_views(images, trained)
    encoder = _encoder(trained, views)
    with TemporaryDirectory() as made:
        shutil.copyfile(folder / "preprocessing.py", Path(made) / "preprocessing.py")
        (Path(made) / "encoder.tflite").write_bytes(to_lite(encoder, half_precision=True))
        shutil.copyfile(trained / "history.csv", Path(made) / "history.csv")
        _write_reference(encoder, Path(made) / "reference.npz")
        write_card(Encoder(Path(made)), _facts(name, views, trained, encoder) | {"photographs": credits})
        check_embeddings(Encoder(Path(made)))
        for file in Path(made).iterdir():
            shutil.copyfile(file, folder / file.name)


def _encoder(trained: Path, views: Views) -> keras.Model:
    """From pixels (n, SIDE_PX, SIDE_PX, 3) in 0..255 to embeddings (n, 256)."""
    weights = load_weights()
    front, alike = network.front(weights, SIDE_PX), network.tail(weights, SIDE_PX, "alike")
    copies = copies_model(network.tail(weights, SIDE_PX, "copies"))
    copies.load_weights(trained / COPIES_CHECKPOINT)
    parts = keras.Model(front.input, [alike(front.output), copies(front.output)])
    learnt = np.flatnonzero(~is_held_out(np.arange(len(views.paths))))
    features, tuned = _features(parts, [views.paths[place] for place in learnt])
    likeness = discriminant(features, _altered_features(views, learnt), _folders(views, learnt), ALIKE_NUMBERS)
    found = [
        _part(likeness, 1.0)(parts.outputs[0]),
        _part(whitening(tuned, COPIES_NUMBERS), COPIES_WEIGHT)(parts.outputs[1]),
    ]
    return keras.Model(front.input, keras.layers.Concatenate()(found))


def _part(projection: Projection, weight: float) -> Any:
    """A layer that projects, scales to length 1 (0 stays 0), and weighs."""
    dense = keras.layers.Dense(projection.matrix.shape[1])

    def apply(features: Any) -> Any:
        projected = dense(features)
        dense.set_weights([projection.matrix, -projection.mean @ projection.matrix])
        squares = keras.ops.sum(projected * projected, axis=1, keepdims=True)
        return projected * (weight / keras.ops.sqrt(squares + _EPSILON))

    return apply


def _features(parts: keras.Model, paths: list[Path]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What both tails say of photographs: (n, 1280) and (n, 256)."""
    found: list[list[NDArray[np.float32]]] = []
    with progress_line("embedding photographs", len(paths), "photographs") as progress:
        for start in range(0, len(paths), _BATCH):
            batch = np.stack(
                [pixels(load_photograph(path, _WORKING_SIDE_PX)) for path in paths[start : start + _BATCH]]
            )
            found.append(parts.predict_on_batch(batch))
            progress.update(len(batch))
    features, tuned = (np.concatenate(each) for each in zip(*found, strict=True))
    return features, tuned


def _altered_features(views: Views, learnt: NDArray[np.intp]) -> NDArray[np.float32]:
    """Lite0's features of altered views: (photographs, views, 1280)."""
    alike = network.tail(load_weights(), VIEW_SIDE_PX, "alike")
    chosen = learnt[:: -(-len(learnt) // _ALTERED_PHOTOGRAPHS)]
    found = [alike.predict(views.maps[chosen, view], batch_size=_BATCH, verbose=0) for view in range(_ALTERED_VIEWS)]
    return np.stack(found, 1)


def _folders(views: Views, learnt: NDArray[np.intp]) -> NDArray[np.intp]:
    """A number for the folder that each photograph lies in."""
    return np.unique([str(views.paths[place].parent) for place in learnt], return_inverse=True)[1]


def _write_reference(encoder: keras.Model, path: Path) -> None:
    """Keras's own embeddings of the hard pictures, which anybody can make again."""
    seen = np.stack([pixels(picture) for picture in hard_pictures().values()])
    np.savez_compressed(path, embeddings=encoder.predict(seen, verbose=0))


def _facts(name: str, views: Views, trained: Path, encoder: keras.Model) -> dict[str, Any]:
    history = read_history(trained / "history.csv")
    held_out = int(is_held_out(np.arange(len(views.paths))).sum())
    return {
        "name": name,
        "dimensions": ALIKE_NUMBERS + COPIES_NUMBERS,
        "thumbnail_side_px": 256,
        "knows_drawings": False,
        "accepts_truncated": True,
        "what": f"Any picture, {SIDE_PX} x {SIDE_PX} pixels in colour, to {ALIKE_NUMBERS} numbers for what is alike, by EfficientNet-Lite0, "
        f"and {COPIES_NUMBERS} that find copies, by the same network tuned for them.",
        "loss_function": "InfoNCE between altered views of one photograph, with an entropy term",
        "for": "Photographs and other pictures in colour or grey: altered copies first, then what is alike.",
        "not_for": "Handwritten digits, which `contrast` tells apart far better.",
        "data": f"learnt from {len(views.paths) - held_out} photographs, validated on {held_out} others; their folders say which are alike",
        "begun_with": {
            "network": "EfficientNet-Lite0, ImageNet weights",
            "package": f"{PACKAGE} {importlib.metadata.version(PACKAGE)}",
            "licence": "Apache-2.0",
        },
        "epochs": len(history),
        "batch_images": 2 * BATCH_PHOTOGRAPHS,
        "optimizer": "AdamW",
        **{column: round(history[-1][column], 5) for column in ("nce", "entropy", "found", "validation_found")},
        "encoder_weights": encoder.count_params(),
    }
