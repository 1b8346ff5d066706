"""Exports a trained encoder to LiteRT, with its card and pictures, and Keras's own embeddings of 100 test images to compare with."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from model import mnist
from model.encoder import ENCODERS, Encoder
from model.soundness import check_embeddings
from model.training.card import write_card, write_quality
from model.training.drawings import draw_curves, draw_pairs
from model.training.evaluate import encoder_embed, quality_of
from model.training.recipes import Recipe
from model.training.train import CHECKPOINT, SEED, read_history

REFERENCE_IMAGES = 100
SHOWN_IMAGES = 12


def export(recipe: Recipe, trained: Path, name: str) -> None:
    """Write all of an encoder's folder but its preprocessing, from what `model.training.train.train` left in `trained`.

    Raises:
        ConfigurationError: some picture would have no embedding of finite numbers; the folder is as it was.
    """
    folder = ENCODERS / name
    keras.utils.set_random_seed(SEED)  # a recipe may still teach a part here
    kept, encoder = recipe.exported(keras.saving.load_model(trained / CHECKPOINT), trained)
    lite = to_lite(encoder)
    _check(folder, lite)
    (folder / "encoder.tflite").write_bytes(lite)
    pixels = mnist.pixels("test")[:REFERENCE_IMAGES]
    np.savez_compressed(folder / "reference.npz", embeddings=encoder.predict(pixels, verbose=0))
    kept.save(folder / recipe.keras_file, include_optimizer=False)
    shutil.copyfile(trained / "history.csv", folder / "history.csv")
    history = read_history(folder / "history.csv")
    draw_curves(history, recipe.titles, folder / "curves.png")
    shown = pixels[:SHOWN_IMAGES]
    title, show = recipe.shown
    draw_pairs(shown, show(kept, shown), title).save(folder / f"{title}.png", optimize=True)
    last = history[-1]
    exported = Encoder(folder)
    facts = {
        "name": name,
        "dimensions": encoder.output_shape[-1],
        "thumbnail_side_px": 96,
        "knows_drawings": True,
        "accepts_truncated": False,
        **recipe.facts,
        "for": "Single handwritten digits: MNIST images, drawings, scans and photographs of a digit on paper or a board.",
        "not_for": "Photographs of anything else: it has seen nothing but digits, and its preprocessing looks for one.",
        "data": "MNIST: trained on the 60,000 training digits, validated on the 10,000 test digits, no labels used",
        "epochs": int(last["epoch"]),
        "batch_images": recipe.batch_images,
        "optimizer": "Adam",
        **{card: round(last[column], 5) for card, column in recipe.figures.items()},
        "encoder_weights": encoder.count_params(),
        "decoder_weights": kept.count_params() - encoder.count_params(),
        "layers": [f"{layer.__class__.__name__} {'x'.join(map(str, layer.output.shape[1:]))}" for layer in kept.layers],
    }
    write_card(exported, facts)
    write_quality(exported, quality_of(encoder_embed(exported), name))


def _check(folder: Path, lite: bytes) -> None:
    """Refuse a network that gives some picture no finite embedding, before anything in the encoder's folder is replaced."""
    with TemporaryDirectory() as tried:
        for name in ("preprocessing.py", "card.json"):
            shutil.copyfile(folder / name, Path(tried) / name)
        (Path(tried) / "encoder.tflite").write_bytes(lite)
        check_embeddings(Encoder(Path(tried)))


def to_lite(encoder: keras.Model, *, half_precision: bool = False) -> bytes:
    """The network for LiteRT, one image at a time; with weights of 16 bits, which halve the file, LiteRT computes in 32."""
    signature = tf.TensorSpec((1, *encoder.input_shape[1:]), tf.float32)
    function = tf.function(lambda pixels: encoder(pixels)).get_concrete_function(signature)
    # Without freezing, the converter keeps variables as resources that LiteRT cannot read.
    converter = tf.lite.TFLiteConverter.from_concrete_functions([convert_variables_to_constants_v2(function)])
    if half_precision:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    return bytes(converter.convert())
