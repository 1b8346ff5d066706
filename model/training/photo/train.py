"""Tunes the network's tail to tell copies of one photograph from everything else.

Instance discrimination after Pizzi et al. 2022 (SSCD, arXiv 2202.10261): two views of a photograph are to be nearest to each
other among all of a batch (InfoNCE), while an entropy term keeps each view away from the nearest view of another photograph.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from contract.errors import ConfigurationError
from model.training.photo import network
from model.training.photo.pretrained import load_weights
from model.training.photo.views import VIEW_SIDE_PX, VIEWS, VIEWS_SEED, make_views
from model.training.train import check_resume, read_history, write_history
from runtime.progress import progress_line

EPOCHS = 12
NUMBERS = 256
COPIES_CHECKPOINT = "copies.weights.h5"
BATCH_PHOTOGRAPHS = 64
# Every twelfth run of 25 photographs is never learnt from: neighbours in a folder often show the same thing.
HELD_OUT_RUN, HELD_OUT_OF, HELD_OUT_PLACE = 25, 12, 5

_TEMPERATURE = 0.06
_ENTROPY_SHARE = 0.3
_LEARNING_RATE = 3e-4
_WARM_UP_STEPS = 60
_WEIGHT_DECAY = 1e-4


def is_held_out(places: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Whether photographs (n,) by their place in the sorted folder are kept for measuring."""
    held_out: NDArray[np.bool_] = places // HELD_OUT_RUN % HELD_OUT_OF == HELD_OUT_PLACE
    return held_out


def train_photos(images: Path, folder: Path, epochs: int, *, resume: bool = False) -> None:
    """Learn from all photographs below `images` until `epochs` epochs are done.

    After each one it writes the weights and ``history.csv`` to `folder`, so that `resume` goes on behind the last finished one.

    Raises:
        ConfigurationError: there is an earlier run and `resume` is not set, or the other way round; too few photographs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    check_resume(folder / COPIES_CHECKPOINT, resume=resume)
    keras.utils.set_random_seed(VIEWS_SEED)
    views = make_views(images, folder)
    places = np.arange(len(views.paths))
    learner = Learner(views.maps, places[~is_held_out(places)], epochs)
    rows = learner.restore(folder) if resume else []
    while len(rows) < epochs:
        figures = learner.epoch(len(rows))
        figures["validation_found"] = learner.found(places[is_held_out(places)])
        rows.append({"epoch": len(rows) + 1.0} | figures)
        print("  ".join(f"{name} {value:.4g}" for name, value in rows[-1].items()), flush=True)
        learner.save(folder, rows)


class Learner:
    """The tail and a linear head above it, and what is needed to take a step."""

    def __init__(self, maps: NDArray[np.float16], places: NDArray[np.intp], epochs: int) -> None:
        self._maps, self._places = maps, places
        self._steps_an_epoch = len(places) // BATCH_PHOTOGRAPHS
        self._steps = epochs * self._steps_an_epoch
        self.model = copies_model(network.tail(load_weights(), VIEW_SIDE_PX, "copies"))
        self._begin_head()
        self._optimizer = keras.optimizers.AdamW(_LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
        self._optimizer.build(self.model.trainable_variables)
        self._step = tf.function(self._take_step)

    def epoch(self, epoch: int) -> dict[str, float]:
        """See each photograph once, in two of its views; the means of what was measured."""
        measured = []
        with progress_line(f"epoch {epoch + 1}", self._steps_an_epoch, "batches") as progress:
            for step, maps in enumerate(self._batches(epoch)):
                done = epoch * self._steps_an_epoch + step
                warm = min(1.0, (done + 1) / _WARM_UP_STEPS)
                self._optimizer.learning_rate = (
                    _LEARNING_RATE * warm * (0.505 + 0.495 * np.cos(np.pi * done / self._steps))
                )
                measured.append([float(figure) for figure in self._step(tf.constant(maps, tf.float32))])
                progress.update()
        means = np.mean(measured, 0)
        if not np.isfinite(means).all():
            raise ConfigurationError(
                f"Epoch {epoch + 1} ended with figures that are not finite: {means}. Nothing of it was kept."
            )
        return dict(zip(("nce", "entropy", "found"), means.tolist(), strict=True))

    def found(self, places: NDArray[np.intp]) -> float:
        """Share of copies of photographs (n,) whose photograph is nearest among those n."""
        firsts, copies = (self.model.predict(self._maps[places, view], verbose=0, batch_size=128) for view in (0, 1))
        return float(np.mean((copies @ firsts.T).argmax(1) == np.arange(len(places))))

    def save(self, folder: Path, rows: list[dict[str, float]]) -> None:
        """Write weights, optimizer and history; each file is whole at any time."""
        write_history(rows, folder / "history.csv")
        state = {f"{place}": variable.numpy() for place, variable in enumerate(self._optimizer.variables)}
        np.savez(folder / "unfinished.npz", **state)
        (folder / "unfinished.npz").replace(folder / "optimizer.npz")
        self.model.save_weights(folder / "unfinished.weights.h5")
        (folder / "unfinished.weights.h5").replace(folder / COPIES_CHECKPOINT)

    def restore(self, folder: Path) -> list[dict[str, float]]:
        """Take weights and optimizer up again; returns the history."""
        self.model.load_weights(folder / COPIES_CHECKPOINT)
        with np.load(folder / "optimizer.npz") as state:
            for place, variable in enumerate(self._optimizer.variables):
                variable.assign(state[f"{place}"])
        return read_history(folder / "history.csv")

    def _batches(self, epoch: int) -> Iterator[NDArray[np.float16]]:
        random = np.random.default_rng((VIEWS_SEED, epoch))
        order = random.permutation(self._places)[: self._steps_an_epoch * BATCH_PHOTOGRAPHS]
        for batch in order.reshape(-1, BATCH_PHOTOGRAPHS):
            first = random.integers(0, VIEWS, len(batch))
            second = (first + random.integers(1, VIEWS, len(batch))) % VIEWS
            yield np.concatenate([self._maps[batch, first], self._maps[batch, second]])

    def _take_step(self, maps: Any) -> Any:
        with tf.GradientTape() as tape:
            loss, figures = _loss(self.model(maps, training=True))
        variables = self.model.trainable_variables
        gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, variables), 1.0)
        self._optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return figures

    def _begin_head(self) -> None:
        """Begin as whitened principal coordinates of what the untuned tail gives."""
        chosen = self._places[:: max(1, len(self._places) // 2000)]
        pooled = keras.Model(self.model.input, self.model.get_layer("head").input)
        features = pooled.predict(self._maps[chosen, 0], verbose=0, batch_size=128)
        mean = features.mean(0)
        _, spread, directions = np.linalg.svd(features - mean, full_matrices=False)
        spread = spread / np.sqrt(len(features))
        head = directions[:NUMBERS].T / (spread[:NUMBERS] + 0.1 * spread[0])
        self.model.get_layer("head").set_weights([head, -(mean @ head)])


def copies_model(tail: keras.Model) -> keras.Model:
    """The tail, a linear head and the unit sphere: from what the front gives to (n, 256)."""
    embeddings = keras.layers.UnitNormalization()(keras.layers.Dense(NUMBERS, name="head")(tail.output))
    return keras.Model(tail.input, embeddings)


def _loss(embeddings: Any) -> Any:
    """InfoNCE and the entropy term of embeddings (2 n, d), the i-th and (n + i)-th of one photograph."""
    count = tf.shape(embeddings)[0]
    itself = tf.eye(count)
    other = tf.roll(tf.range(count), count // 2, 0)
    likeness = embeddings @ tf.transpose(embeddings)
    logits = likeness / _TEMPERATURE - 1e9 * itself
    nce = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(other, logits))
    nearest = tf.reduce_max(likeness - 9.0 * (itself + tf.roll(itself, count // 2, 0)), 1)
    entropy = -tf.reduce_mean(tf.math.log(tf.sqrt(tf.maximum(2 - 2 * nearest, 1e-6))))
    found = tf.reduce_mean(tf.cast(tf.argmax(logits, 1, output_type=tf.int32) == other, tf.float32))
    return nce + _ENTROPY_SHARE * entropy, (nce, entropy, found)
