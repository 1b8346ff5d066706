"""Trains the report's autoencoder: Adam, binary cross-entropy, batches of 128, seeded, resumable after any epoch."""

import csv
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from model import mnist
from model.autoencoder import build_autoencoder

SEED = 1
BATCH_IMAGES = 128


def train(folder: Path, epochs: int) -> None:
    """Train up to `epochs` epochs, going on where `folder` says that an earlier run ended.

    Writes ``autoencoder.keras`` (weights and optimizer) and ``history.csv`` (loss and pixel accuracy of training and
    test images) after each epoch; both belong to the same epoch whenever the process ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint, history = folder / "autoencoder.keras", folder / "history.csv"
    rows = read_history(history) if checkpoint.exists() else []
    if rows:
        autoencoder = keras.saving.load_model(checkpoint)
    else:
        keras.utils.set_random_seed(SEED)
        autoencoder, _ = build_autoencoder()
        autoencoder.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
    train_pixels, test_pixels = _pixels("train"), _pixels("test")
    for epoch in range(len(rows), epochs):
        # Seeded by the epoch, so that a resumed run sees the batches that an uninterrupted one sees.
        order = np.random.default_rng((SEED, epoch)).permutation(len(train_pixels))
        shuffled = train_pixels[order]
        print(f"Epoch {epoch + 1}/{epochs}", flush=True)
        result = autoencoder.fit(
            shuffled,
            shuffled,
            batch_size=BATCH_IMAGES,
            shuffle=False,
            validation_data=(test_pixels, test_pixels),
            verbose="auto" if epochs else 0,
        )
        rows.append({"epoch": epoch + 1.0} | {name: values[0] for name, values in result.history.items()})
        _save(autoencoder, rows, checkpoint, history)


def read_history(path: Path) -> list[dict[str, float]]:
    """One dict of figures an epoch."""
    with path.open() as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def _save(autoencoder: keras.Model, rows: list[dict[str, float]], checkpoint: Path, history: Path) -> None:
    unfinished = checkpoint.with_name("unfinished.keras")
    autoencoder.save(unfinished)
    with history.with_suffix(".tmp").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    unfinished.replace(checkpoint)
    history.with_suffix(".tmp").replace(history)


def _pixels(split: mnist.Split) -> NDArray[np.float32]:
    return (mnist.images(split)[..., None] / 255).astype(np.float32)
