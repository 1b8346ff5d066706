"""Exports a trained encoder to LiteRT, with its card and Keras's own embeddings of 100 test images to compare with."""

import json
import shutil
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from model import mnist
from model.encoder import ENCODERS, Encoder
from model.train import read_history

REFERENCE_IMAGES = 100


def export(trained: Path, name: str = "report-autoencoder") -> None:
    """Write ``encoder.tflite``, ``reference.npz``, ``history.csv`` and ``card.json`` to the encoder's folder."""
    folder = ENCODERS / name
    autoencoder = keras.saving.load_model(trained / "autoencoder.keras")
    encoder = keras.Model(autoencoder.inputs, autoencoder.get_layer("embedding").output)
    (folder / "encoder.tflite").write_bytes(_lite(encoder))
    pixels = (mnist.images("test")[:REFERENCE_IMAGES, ..., None] / 255).astype(np.float32)
    np.savez_compressed(folder / "reference.npz", embeddings=encoder.predict(pixels, verbose=0))
    shutil.copy(trained / "history.csv", folder / "history.csv")
    autoencoder.save(folder / "autoencoder.keras", include_optimizer=False)
    last = read_history(trained / "history.csv")[-1]
    card = {
        "name": name,
        "what": "The encoder of a convolutional autoencoder, 28 x 28 grey pixels to 128 numbers.",
        "data": "MNIST, 60,000 training digits; validated on the 10,000 test digits",
        "not_for": "Photographs of anything but single digits: it has seen nothing else.",
        "epochs": int(last["epoch"]),
        "batch_images": 128,
        "optimizer": "Adam",
        "loss_function": "binary cross-entropy",
        "loss": round(last["loss"], 5),
        "validation_loss": round(last["val_loss"], 5),
        "weights": {"encoder": encoder.count_params(), "decoder": autoencoder.count_params() - encoder.count_params()},
        "layers": [[layer.__class__.__name__, list(layer.output.shape[1:])] for layer in autoencoder.layers],
        "fingerprint": Encoder(folder).fingerprint,
    }
    (folder / "card.json").write_text(json.dumps(card, indent=2) + "\n")


def _lite(encoder: keras.Model) -> bytes:
    signature = tf.TensorSpec((1, 28, 28, 1), tf.float32)
    function = tf.function(lambda pixels: encoder(pixels)).get_concrete_function(signature)
    # Without freezing, the converter keeps variables as resources that LiteRT cannot read.
    frozen = convert_variables_to_constants_v2(function)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    with tempfile.TemporaryDirectory():
        return bytes(converter.convert())
