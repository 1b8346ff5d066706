"""Trains an encoder by its recipe: seeded, resumable after any epoch."""

import csv
import sys
from pathlib import Path

import keras
import numpy as np

from contract.errors import ConfigurationError
from model.training.recipes import Recipe

SEED = 1
TRAINING_IMAGES = 60000
CHECKPOINT = "trained.keras"


def train(recipe: Recipe, folder: Path, epochs: int, *, resume: bool = False) -> None:
    """Train until `epochs` epochs are done.

    After each one it writes ``trained.keras`` (weights and optimizer) and ``history.csv`` (the recipe's figures over
    training and test images) to `folder`, so that `resume` goes on behind the last finished epoch and ends with the
    weights that an undisturbed run would have.

    Raises:
        ConfigurationError: there is an earlier run and `resume` is not set, or the other way round; or training came to
            numbers that are not finite.
    """
    checkpoint, history = folder / CHECKPOINT, folder / "history.csv"
    check_resume(checkpoint, resume=resume)
    if resume:
        model = keras.saving.load_model(checkpoint)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        keras.utils.set_random_seed(SEED)
        model = recipe.build(folder)
    validation = recipe.validation(folder)
    steps = -(-TRAINING_IMAGES // recipe.batch_images)
    batch_examples = recipe.batch_images * recipe.examples_an_image
    # The weights know how far they are. The history is written first, so it may be an epoch ahead after a kill.
    done = int(model.optimizer.iterations) // steps
    rows = read_history(history)[:done] if done else []
    for epoch in range(done, epochs):
        # Seeded by the epoch, so that a resumed run sees the batches that an undisturbed one sees.
        order = np.random.default_rng((SEED, epoch)).permutation(TRAINING_IMAGES)
        inputs, targets = recipe.training(folder, order, epoch)
        print(f"Epoch {epoch + 1}/{epochs}", flush=True)
        result = model.fit(
            inputs,
            targets,
            batch_size=batch_examples,
            shuffle=False,
            validation_data=validation,
            validation_batch_size=batch_examples,
            verbose=1 if sys.stdout.isatty() else 2,
        )
        rows.append({"epoch": epoch + 1.0} | {name: values[0] for name, values in result.history.items()})
        if not np.isfinite(list(rows[-1].values())).all():
            raise ConfigurationError(
                f"Epoch {epoch + 1} ended with figures that are not finite: {rows[-1]}. Nothing of it was kept; train with a "
                "smaller learning rate, or look for what the network divides by."
            )
        write_history(rows, history)
        unfinished = folder / "unfinished.keras"
        model.save(unfinished)
        unfinished.replace(checkpoint)


def check_resume(checkpoint: Path, *, resume: bool) -> None:
    """Neither go on with a run that is not there, nor write over one that is.

    Raises:
        ConfigurationError: `checkpoint` is there and `resume` is not set, or the other way round.
    """
    folder = checkpoint.parent
    if checkpoint.exists() != resume:
        raise ConfigurationError(
            f"There is no run to resume in {folder}: leave out --resume."
            if resume
            else f"{folder} holds an earlier run: go on with --resume, or delete that folder to start anew."
        )


def read_history(path: Path) -> list[dict[str, float]]:
    """One dict of figures an epoch."""
    with path.open() as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def write_history(rows: list[dict[str, float]], path: Path) -> None:
    """Write what `read_history` reads; the file is whole at any time."""
    unfinished = path.with_suffix(".tmp")
    with unfinished.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    unfinished.replace(path)
