"""The committed encoder is the report's, and runs without TensorFlow."""

import sys

import numpy as np
import pytest

from contract.errors import ConfigurationError
from model import mnist
from model.encoder import load_encoder

ENCODER = load_encoder("report-autoencoder")


def test_mnist_is_complete() -> None:
    assert mnist.images("train").shape == (60000, 28, 28)
    assert mnist.images("test").shape == (10000, 28, 28)
    assert np.bincount(mnist.labels("test")).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_architecture_is_the_reports() -> None:
    assert ENCODER.card["weights"] == {"encoder": 1904, "decoder": 2481}
    assert ENCODER.card["layers"] == [
        ["InputLayer", [28, 28, 1]],
        ["Conv2D", [28, 28, 16]],
        ["MaxPooling2D", [14, 14, 16]],
        ["Conv2D", [14, 14, 8]],
        ["MaxPooling2D", [7, 7, 8]],
        ["Conv2D", [7, 7, 8]],
        ["MaxPooling2D", [4, 4, 8]],
        ["Flatten", [128]],
        ["Reshape", [4, 4, 8]],
        ["Conv2D", [4, 4, 8]],
        ["UpSampling2D", [8, 8, 8]],
        ["Conv2D", [8, 8, 8]],
        ["UpSampling2D", [16, 16, 8]],
        ["Conv2D", [14, 14, 16]],
        ["UpSampling2D", [28, 28, 16]],
        ["Conv2D", [28, 28, 1]],
    ]


def test_card_belongs_to_the_committed_files() -> None:
    assert ENCODER.card["fingerprint"] == ENCODER.fingerprint
    assert ENCODER.card["epochs"] >= 20


def test_litert_agrees_with_keras_on_100_images_without_tensorflow() -> None:
    expected = np.load(ENCODER.folder / "reference.npz")["embeddings"]
    pixels = (mnist.images("test")[:100, ..., None] / 255).astype(np.float32)
    found = np.stack([ENCODER.embed(image) for image in pixels])
    assert found.dtype == np.float32
    assert found.shape == (100, 128)
    assert np.abs(found - expected).max() <= 1e-5
    assert "tensorflow" not in sys.modules
    assert "keras" not in sys.modules


def test_unknown_encoder_is_refused_with_the_names_of_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"LOOKALIKE_ENCODER.*report-autoencoder"):
        load_encoder("vgg")
