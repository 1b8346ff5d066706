"""The report's convolutional autoencoder in Keras: 28 x 28 pixels to 128 numbers and back."""

from pathlib import Path

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from model import mnist
from model.training.recipes import Examples, Recipe


def build_autoencoder(_: Path) -> keras.Model:
    """The autoencoder, (n, 28, 28, 1) float32 in [0, 1] to the same; its layer `embedding` gives (n, 128) float32.

    1,904 weights encode and 2,481 decode.
    """
    pixels = keras.Input((28, 28, 1), name="pixels")
    x = pixels
    for filters in (16, 8, 8):
        x = layers.Conv2D(filters, 3, activation="relu", padding="same")(x)
        x = layers.MaxPooling2D(2, padding="same")(x)
    embedding = layers.Flatten(name="embedding")(x)
    x = layers.Reshape((4, 4, 8))(embedding)
    for filters, padding in ((8, "same"), (8, "same"), (16, "valid")):
        x = layers.Conv2D(filters, 3, activation="relu", padding=padding)(x)
        x = layers.UpSampling2D(2)(x)
    reconstruction = layers.Conv2D(1, 3, activation="sigmoid", padding="same", name="reconstruction")(x)
    autoencoder = keras.Model(pixels, reconstruction, name="autoencoder")
    autoencoder.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
    return autoencoder


def _training(_: Path, order: NDArray[np.intp], __: int) -> Examples:
    shuffled = mnist.pixels("train")[order]
    return shuffled, shuffled


def _validation(_: Path) -> Examples:
    return mnist.pixels("test"), mnist.pixels("test")


def _exported(autoencoder: keras.Model, _: Path) -> tuple[keras.Model, keras.Model]:
    return autoencoder, keras.Model(autoencoder.inputs, autoencoder.get_layer("embedding").output)


def _reconstruct(autoencoder: keras.Model, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    reconstructions: NDArray[np.float32] = autoencoder.predict(pixels, verbose=0)
    return reconstructions


RECIPE = Recipe(
    keras_file="autoencoder.keras",
    epochs=100,
    batch_images=128,
    examples_an_image=1,
    build=build_autoencoder,
    training=_training,
    validation=_validation,
    exported=_exported,
    shown=("reconstructed", _reconstruct),
    titles={"loss": "Loss (binary cross-entropy)", "accuracy": "Pixel accuracy"},
    facts={
        "what": "The encoder of a convolutional autoencoder: 28 x 28 grey pixels to 128 numbers.",
        "loss_function": "binary cross-entropy",
    },
    figures={
        "loss": "loss",
        "validation_loss": "val_loss",
        "pixel_accuracy": "accuracy",
        "validation_pixel_accuracy": "val_accuracy",
    },
)
