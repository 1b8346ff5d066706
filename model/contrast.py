"""The contrastive encoder: oriented edges of a straightened digit through two dense layers, which learn to tell each of
thousands of digits from all others by an altered copy. No labels."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray

from contract.progress import progress_line
from model import mnist
from model.random_copies import random_copies
from model.recipes import Examples, Recipe
from model.straightening import Straightening

TEMPERATURE = 0.15
# A batch holds as many originals as copies.
BATCH_DIGITS = 500
# Altered copies that are made of each training digit, once; each epoch takes one of them.
COPIES = 3
FEATURES = 7 * 7 * 8 + 14 * 14
_BLOCK = 1000


def build_head() -> keras.Model:
    """What is trained: features (n, 588) float32 to embeddings (n, 128) float32 of length 1, compiled."""
    features = keras.Input((FEATURES,), name="features")
    x = layers.Rescaling(10.0)(features)  # parts of length 1 over hundreds of numbers are small
    x = layers.Dense(384, activation="relu")(x)
    embedding = layers.UnitNormalization(name="embedding")(layers.Dense(128)(x))
    head = keras.Model(features, embedding, name="head")
    head.compile(optimizer=keras.optimizers.Adam(1e-3), loss=contrast, metrics=[found])
    return head


def build_front() -> keras.Model:
    """What is not trained: pixels (n, 28, 28, 1) float32 in [0, 1] to features (n, 588) float32.

    How strongly strokes run in each of 8 directions in 7 x 7 places, and the ink in 14 x 14.
    """
    pixels = keras.Input((28, 28, 1), name="pixels")
    straight = Straightening(name="straightened")(pixels)
    edges = layers.Conv2D(8, 5, padding="same", use_bias=False, activation="relu", trainable=False, name="edges")
    x = layers.AveragePooling2D(6, 4, padding="same")(edges(straight))
    parts = [layers.UnitNormalization()(layers.Flatten()(part)) for part in (x, layers.AveragePooling2D(2)(straight))]
    features = layers.Concatenate(name="features")(parts)
    edges.set_weights([_directions()])
    return keras.Model(pixels, features, name="front")


@keras.saving.register_keras_serializable("lookalike")  # type: ignore[untyped-decorator] # Keras has no types
def contrast(_: tf.Tensor, embeddings: tf.Tensor) -> tf.Tensor:
    """Loss (2 n,): how badly each of n originals, then each of their n copies, tells its counterpart from the others.

    NT-Xent between originals and copies: scalar products over `TEMPERATURE` are the logits.
    """
    logits = _products(embeddings) / TEMPERATURE
    counterpart = tf.range(tf.shape(logits)[0])
    cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits
    return tf.concat([cross_entropy(counterpart, each) for each in (logits, tf.transpose(logits))], 0)


@keras.saving.register_keras_serializable("lookalike")  # type: ignore[untyped-decorator] # Keras has no types
def found(_: tf.Tensor, embeddings: tf.Tensor) -> tf.Tensor:
    """1 for each of n originals whose copy is the nearest of all copies in the batch, else 0: (n,)."""
    products = _products(embeddings)
    nearest = tf.argmax(products, 1, output_type=tf.int32)
    return tf.cast(nearest == tf.range(tf.shape(products)[0]), tf.float32)


def _products(embeddings: tf.Tensor) -> tf.Tensor:
    originals, copies = tf.split(embeddings, 2)
    return tf.matmul(originals, copies, transpose_b=True)


def _directions() -> NDArray[np.float32]:
    """Derivatives of a Gaussian in 8 directions: (5, 5, 1, 8)."""
    y, x = np.mgrid[-2:3, -2:3]
    angles = np.arange(8) * np.pi / 4
    kernels = np.exp(-(x * x + y * y) / 2)[..., None] * (x[..., None] * np.cos(angles) + y[..., None] * np.sin(angles))
    directions: NDArray[np.float32] = (kernels / np.abs(kernels).sum((0, 1))).astype(np.float32)[:, :, None]
    return directions


def _training(folder: Path, order: NDArray[np.intp], epoch: int) -> Examples:
    return _paired(*(_features(folder, "train", copy)[order] for copy in (0, 1 + epoch % COPIES)))


def _validation(folder: Path) -> Examples:
    return _paired(*(_features(folder, "test", copy)[:] for copy in (0, 1)))


def _paired(originals: NDArray[np.float16], copies: NDArray[np.float16]) -> Examples:
    """Batches one after the other, each with its originals first; the targets are not looked at."""
    pairs = np.concatenate([part.reshape(-1, BATCH_DIGITS, FEATURES) for part in (originals, copies)], axis=1)
    return pairs.reshape(-1, FEATURES), np.zeros(2 * len(originals), np.float32)


def _features(folder: Path, split: mnist.Split, copy: int) -> NDArray[np.float16]:
    """Features (n, 588) of the digits, or of altered copies of them if `copy` is not 0; computed once, kept as a file."""
    path = folder / f"features-{split}-{copy}.npy"
    if not path.exists():
        pixels = mnist.pixels(split)
        front = tf.function(build_front())
        blocks = []
        with progress_line(f"features of {split} digits, copy {copy}", len(pixels), "digits") as progress:
            for start in range(0, len(pixels), _BLOCK):
                block = tf.constant(pixels[start : start + _BLOCK])
                if copy:
                    block = random_copies(block, tf.constant([100 + copy, start // _BLOCK + 1000 * (split == "test")]))
                blocks.append(front(block).numpy().astype(np.float16))
                progress.update(_BLOCK)
        unfinished = folder / "unfinished.npy"
        np.save(unfinished, np.concatenate(blocks))
        unfinished.replace(path)
    features: NDArray[np.float16] = np.load(path, mmap_mode="r")
    return features


def _exported(head: keras.Model) -> tuple[keras.Model, keras.Model]:
    front = build_front()
    x = front.output
    for layer in head.layers[1:]:  # not the head as a whole, which would bring its optimizer along
        x = layer(x)
    encoder = keras.Model(front.inputs, x, name="encoder")
    return encoder, encoder


def _straighten(_: keras.Model, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    straight: NDArray[np.float32] = Straightening()(pixels).numpy()
    return straight


RECIPE = Recipe(
    keras_file="encoder.keras",
    epochs=100,
    batch_images=BATCH_DIGITS,
    examples_an_image=2,
    build=build_head,
    training=_training,
    validation=_validation,
    exported=_exported,
    shown=("straightened", _straighten),
    titles={"loss": "Loss (NT-Xent)", "found": "Copy nearest of a batch's 500"},
    facts={
        "what": "Oriented edges of a straightened digit through two dense layers: 28 x 28 grey pixels to 128 numbers.",
        "loss_function": "NT-Xent between digits and altered copies",
    },
    figures={"loss": "loss", "validation_loss": "val_loss", "found": "found", "validation_found": "val_found"},
)
