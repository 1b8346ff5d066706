"""Trains the report's autoencoder: Adam, binary cross-entropy, batches of 128, seeded, resumable after any epoch."""

import csv
import sys
from pathlib import Path

import keras
import numpy as np

from contract.errors import ConfigurationError
from model import mnist
from model.autoencoder import build_autoencoder

SEED = 1
BATCH_IMAGES = 128


def train(folder: Path, epochs: int, *, resume: bool = False) -> None:
    """Train until `epochs` epochs are done.

    After each one it writes ``autoencoder.keras`` (weights and optimizer) and ``history.csv`` (loss and pixel accuracy
    over training and test images) to `folder`, so that `resume` goes on behind the last finished epoch and ends with
    the weights that an undisturbed run would have.

    Raises:
        ConfigurationError: there is an earlier run and `resume` is not set, or the other way round.
    """
    checkpoint, history = folder / "autoencoder.keras", folder / "history.csv"
    if checkpoint.exists() != resume:
        raise ConfigurationError(
            f"There is no run to resume in {folder}: leave out --resume."
            if resume
            else f"{folder} holds an earlier run: go on with --resume, or delete that folder to start anew."
        )
    if resume:
        autoencoder = keras.saving.load_model(checkpoint)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        keras.utils.set_random_seed(SEED)
        autoencoder, _ = build_autoencoder()
        autoencoder.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
    train_pixels, test_pixels = mnist.pixels("train"), mnist.pixels("test")
    steps = -(-len(train_pixels) // BATCH_IMAGES)
    # The weights know how far they are. The history is written first, so it may be an epoch ahead after a kill.
    done = int(autoencoder.optimizer.iterations) // steps
    rows = read_history(history)[:done] if done else []
    for epoch in range(done, epochs):
        # Seeded by the epoch, so that a resumed run sees the batches that an undisturbed one sees.
        order = np.random.default_rng((SEED, epoch)).permutation(len(train_pixels))
        shuffled = train_pixels[order]
        print(f"Epoch {epoch + 1}/{epochs}", flush=True)
        result = autoencoder.fit(
            shuffled,
            shuffled,
            batch_size=BATCH_IMAGES,
            shuffle=False,
            validation_data=(test_pixels, test_pixels),
            verbose=1 if sys.stdout.isatty() else 2,
        )
        rows.append({"epoch": epoch + 1.0} | {name: values[0] for name, values in result.history.items()})
        _write_history(rows, history)
        unfinished = folder / "unfinished.keras"
        autoencoder.save(unfinished)
        unfinished.replace(checkpoint)


def read_history(path: Path) -> list[dict[str, float]]:
    """One dict of figures an epoch."""
    with path.open() as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def _write_history(rows: list[dict[str, float]], path: Path) -> None:
    unfinished = path.with_suffix(".tmp")
    with unfinished.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    unfinished.replace(path)
