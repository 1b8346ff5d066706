"""The committed encoders run without TensorFlow, and their cards say what they are; one is the report's."""

import json
import subprocess
import sys
import zipfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from contract.errors import ConfigurationError
from model import mnist
from model.encoder import Encoder, encoder_names, load_encoder
from model.soundness import hard_pictures
from model.training.evaluate import encoder_embed, nearest_rows, precision, quality_of

REPORT = load_encoder("report-autoencoder")


@pytest.fixture(scope="module", params=encoder_names())
def encoder(request: pytest.FixtureRequest) -> Encoder:
    return load_encoder(request.param)


@pytest.fixture(scope="module", params=[name for name in encoder_names() if load_encoder(name).card["knows_drawings"]])
def digits_encoder(request: pytest.FixtureRequest) -> Encoder:
    return load_encoder(request.param)


def test_mnist_is_complete() -> None:
    assert mnist.images("train").shape == (60000, 28, 28)
    assert mnist.images("test").shape == (10000, 28, 28)
    assert np.bincount(mnist.labels("test")).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_altered_mnist_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "t10k-labels-idx1-ubyte.gz"
    (tmp_path / name).write_bytes(b"something else")
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  {name}\n")
    monkeypatch.setattr(mnist, "FOLDER", tmp_path)
    mnist.labels.cache_clear()
    with pytest.raises(ConfigurationError, match=name):
        mnist.labels("test")


def test_layers_and_weights_are_the_reports() -> None:
    """As the committed model file has them, and as the card says."""
    with zipfile.ZipFile(REPORT.folder / "autoencoder.keras") as archive:
        layers = json.loads(archive.read("config.json"))["config"]["layers"]
    convolutions = [layer["config"] for layer in layers if layer["class_name"] == "Conv2D"]
    assert [(c["filters"], c["activation"], c["padding"]) for c in convolutions] == [
        (16, "relu", "same"),
        (8, "relu", "same"),
        (8, "relu", "same"),
        (8, "relu", "same"),
        (8, "relu", "same"),
        (16, "relu", "valid"),
        (1, "sigmoid", "same"),
    ]
    assert all(c["kernel_size"] == [3, 3] for c in convolutions)
    inputs = [1, *(c["filters"] for c in convolutions)]
    weights = [(9 * inputs[n] + 1) * c["filters"] for n, c in enumerate(convolutions)]
    assert (sum(weights[:3]), sum(weights[3:])) == (1904, 2481)
    assert (REPORT.card["encoder_weights"], REPORT.card["decoder_weights"]) == (1904, 2481)
    assert REPORT.card["layers"] == [
        "InputLayer 28x28x1",
        "Conv2D 28x28x16",
        "MaxPooling2D 14x14x16",
        "Conv2D 14x14x8",
        "MaxPooling2D 7x7x8",
        "Conv2D 7x7x8",
        "MaxPooling2D 4x4x8",
        "Flatten 128",
        "Reshape 4x4x8",
        "Conv2D 4x4x8",
        "UpSampling2D 8x8x8",
        "Conv2D 8x8x8",
        "UpSampling2D 16x16x8",
        "Conv2D 14x14x16",
        "UpSampling2D 28x28x16",
        "Conv2D 28x28x1",
    ]


def test_card_belongs_to_the_committed_files_and_the_whole_training(encoder: Encoder) -> None:
    assert encoder.card["fingerprint"] == encoder.fingerprint
    assert encoder.card["epochs"] >= 10
    assert len((encoder.folder / "history.csv").read_text().splitlines()) == encoder.card["epochs"] + 1


def test_litert_agrees_with_keras_without_tensorflow(encoder: Encoder) -> None:
    expected = np.load(encoder.folder / "reference.npz")["embeddings"]
    if encoder.card["knows_drawings"]:
        seen, difference_max = list(mnist.pixels("test")[:100]), 1e-5
    else:  # its weights have 16 bits in LiteRT, 32 in Keras; least is left of what pictures hold that are nearly blank
        seen, difference_max = [encoder.pixels(picture) for picture in hard_pictures().values()], 0.03
    found = np.stack([encoder.embed(pixels) for pixels in seen])
    assert found.dtype == np.float32
    assert found.shape == expected.shape == (len(seen), encoder.dimensions)
    assert np.abs(found - expected).max() <= difference_max
    assert "tensorflow" not in sys.modules
    assert "keras" not in sys.modules


@pytest.mark.thorough
def test_quality_on_the_card_is_found_again(digits_encoder: Encoder) -> None:
    """All of what `python -m model evaluate` prints for it."""
    found = asdict(quality_of(encoder_embed(digits_encoder), digits_encoder.name))
    said = digits_encoder.card["quality"]
    assert found.pop("copies") == pytest.approx(said["copies"], abs=0.002)
    assert found == pytest.approx({name: said[name] for name in found}, abs=0.002)


def test_precision_counts_and_weighs_ranks() -> None:
    is_same = np.array([[True, False, True, False], [False, False, False, True]])
    p_at_1, p_at_4, map_at_4 = precision(is_same)
    assert (p_at_1, p_at_4) == (0.5, 0.375)
    assert map_at_4 == pytest.approx(((1 + 2 / 3) / 4 + (1 / 4) / 4) / 2, abs=1e-4)


def test_nearest_are_the_nearest_in_order() -> None:
    random = np.random.default_rng(1)
    gallery, queries = (random.normal(size=(n, 8)).astype(np.float32) for n in (300, 20))
    distances = np.linalg.norm(gallery[None] - queries[:, None], axis=-1)
    assert (nearest_rows(gallery, queries, 5) == np.argsort(distances, axis=1)[:, :5]).all()


def test_unknown_encoder_is_refused_with_the_names_of_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"vgg.*only: .*report-autoencoder.*LOOKALIKE_ENCODER"):
        load_encoder("vgg")


@pytest.mark.parametrize("verb", ["train", "export"])
def test_without_tensorflow_training_names_the_command_that_brings_it(verb: str) -> None:
    done = subprocess.run([sys.executable, "-m", "model", verb], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "`make train`" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--encoder", "photo"], "--images FOLDER"),
        (["--encoder", "photo", "--images", "no/such/folder"], "no/such/folder is no folder"),
        (["--encoder", "contrast", "--images", "."], "learns from MNIST"),
    ],
)
@pytest.mark.parametrize("verb", ["train", "export"])
def test_photographs_to_learn_from_are_named_for_the_photo_encoder_alone(
    verb: str, options: list[str], said: str
) -> None:
    done = subprocess.run([sys.executable, "-m", "model", verb, *options], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
