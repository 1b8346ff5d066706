"""The encoder `contrast`: 128 dimensions from the oriented edges of a straightened digit. No labels.

112 of them are learnt by contrasting each digit with altered copies of itself, 16 describe its neighbourhood among all digits.
"""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray
from scipy.linalg import eigh

from model import mnist
from model.training.neighbourhoods import neighbourhood_coordinates
from model.training.random_copies import random_copies
from model.training.recipes import Examples, Recipe
from model.training.straightening import Straightening
from runtime.progress import progress_line

TEMPERATURE = 0.15
# A batch holds as many originals as copies.
BATCH_DIGITS = 500
_FEATURES = 10 * 10 * 8 + 14 * 14
# The first weights come from so many digits and a copy of each; the ridge is the share of the mean variance that is added to each.
START_DIGITS, _RIDGE = 30000, 0.03
LEARNING_RATE = 0.002
# So many of the 128 dimensions describe the neighbourhood, and this is their share of a squared distance.
PLACE, PLACE_SHARE = 16, 0.2
PLACE_HIDDEN, PLACE_EPOCHS = 64, 20
_BLOCK = 1000


def build_head(folder: Path) -> keras.Model:
    """What is trained: features (n, d) float32 to embeddings (n, 128) float32 of length 1, compiled.

    It starts from the directions in which digits differ most, compared with how much copies differ from their originals.
    """
    originals, copies = (_features(folder, "train", copy)[:START_DIGITS].astype(np.float32) for copy in (0, 1))
    mean = originals.mean(0)
    directions = _telling_directions(originals - mean, copies - originals)
    features = keras.Input((_FEATURES,), name="features")
    embedding = layers.Dense(128, name="embedding")
    head = keras.Model(features, layers.UnitNormalization()(embedding(features)), name="head")
    embedding.set_weights([directions, -mean @ directions])
    head.compile(optimizer=keras.optimizers.Adam(LEARNING_RATE), loss=contrast, metrics=[found])
    return head


def build_front() -> keras.Model:
    """What is not trained: pixels (n, 28, 28, 1) float32 in [0, 1] to features (n, 996) float32.

    How strongly strokes run in each of 8 directions in 10 x 10 places, and the ink in 14 x 14.
    """
    pixels = keras.Input((28, 28, 1), name="pixels")
    straight = Straightening(name="straightened")(pixels)
    edges = layers.Conv2D(8, 5, padding="same", use_bias=False, activation="relu", trainable=False, name="edges")
    x = layers.AveragePooling2D(5, 3, padding="same")(edges(straight))
    parts = [layers.UnitNormalization()(layers.Flatten()(part)) for part in (x, layers.AveragePooling2D(2)(straight))]
    features = layers.Concatenate(name="features")(parts)
    edges.set_weights([_directions()])
    return keras.Model(pixels, features, name="front")


@keras.saving.register_keras_serializable("lookalike")  # type: ignore[untyped-decorator] # Keras has no types
def contrast(_: tf.Tensor, embeddings: tf.Tensor) -> tf.Tensor:
    """Loss (2 n,) of n originals, then of their n copies: how badly each one's counterpart is told from all others.

    NT-Xent between originals and copies: scalar products over `TEMPERATURE` are the logits.
    """
    logits = _products(embeddings) / TEMPERATURE
    counterpart = tf.range(tf.shape(logits)[0])
    cross_entropy = tf.nn.sparse_softmax_cross_entropy_with_logits
    return tf.concat([cross_entropy(counterpart, each) for each in (logits, tf.transpose(logits))], 0)


@keras.saving.register_keras_serializable("lookalike")  # type: ignore[untyped-decorator] # Keras has no types
def found(_: tf.Tensor, embeddings: tf.Tensor) -> tf.Tensor:
    """(n,): 1 for an original whose copy is the nearest of all copies in the batch, else 0."""
    products = _products(embeddings)
    nearest = tf.argmax(products, 1, output_type=tf.int32)
    return tf.cast(nearest == tf.range(tf.shape(products)[0]), tf.float32)


def _products(embeddings: tf.Tensor) -> tf.Tensor:
    originals, copies = tf.split(embeddings, 2)
    return tf.matmul(originals, copies, transpose_b=True)


def _telling_directions(originals: NDArray[np.float32], changes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Directions (d, 128) along which `originals` (n, d), of mean 0, vary most compared with `changes` (n, d), which vary by 1 there.

    A linear discriminant analysis with each digit as a class of its own.
    """
    scatter, change = (part.T @ part / len(part) for part in (originals, changes))
    change += np.eye(len(change), dtype=np.float32) * _RIDGE * np.trace(change) / len(change)
    last = [len(change) - 128, len(change) - 1]
    directions: NDArray[np.float32] = eigh(scatter, change, subset_by_index=last)[1][:, ::-1].astype(np.float32)
    return directions


def _directions() -> NDArray[np.float32]:
    """Derivatives of a Gaussian in 8 directions: (5, 5, 1, 8)."""
    y, x = np.mgrid[-2:3, -2:3]
    angles = np.arange(8) * np.pi / 4
    kernels = np.exp(-(x * x + y * y) / 2)[..., None] * (x[..., None] * np.cos(angles) + y[..., None] * np.sin(angles))
    directions: NDArray[np.float32] = (kernels / np.abs(kernels).sum((0, 1))).astype(np.float32)[:, :, None]
    return directions


def _training(folder: Path, order: NDArray[np.intp], _: int) -> Examples:
    return _paired(*(_features(folder, "train", copy)[order] for copy in (0, 1)))


def _validation(folder: Path) -> Examples:
    return _paired(*(_features(folder, "test", copy)[:] for copy in (0, 1)))


def _paired(originals: NDArray[np.float16], copies: NDArray[np.float16]) -> Examples:
    """Batches one after the other, each with its originals first; the targets are not looked at."""
    pairs = np.concatenate([part.reshape(-1, BATCH_DIGITS, _FEATURES) for part in (originals, copies)], axis=1)
    return pairs.reshape(-1, _FEATURES), np.zeros(2 * len(originals), np.float32)


def _features(folder: Path, split: mnist.Split, copy: int) -> NDArray[np.float16]:
    """Features (n, 996) of the digits, or of altered copies of them if `copy` is not 0; computed once, kept as a file."""
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


def _exported(head: keras.Model, folder: Path) -> tuple[keras.Model, keras.Model]:
    digits, copies = (_features(folder, "train", copy).astype(np.float32) for copy in (0, 1))
    front = build_front()
    weights, bias = head.get_layer("embedding").get_weights()
    weights, bias = _weighed(weights, bias, digits)
    told = layers.Dense(128 - PLACE, name="embedding")
    parts = [layers.UnitNormalization()(told(front.output)), _placing(head, digits, copies)(front.output)]
    shares = (1 - PLACE_SHARE, PLACE_SHARE)
    numbers = [layers.Rescaling(share**0.5)(part) for part, share in zip(parts, shares, strict=True)]
    encoder = keras.Model(front.inputs, layers.Concatenate(name="numbers")(numbers), name="encoder")
    told.set_weights([weights[:, : told.units], bias[: told.units]])
    return encoder, encoder


def _placing(head: keras.Model, digits: NDArray[np.float32], copies: NDArray[np.float32]) -> keras.Model:
    """A network from features (n, 996) to a digit's neighbourhood among the 60,000, (n, PLACE) of length 1.

    It learns the `neighbourhood_coordinates` of the trained embeddings, a copy those of its original, so that digits outside
    of that graph have coordinates too.
    """
    print("neighbourhoods of 60,000 digits, which takes a minute or two", flush=True)
    places = neighbourhood_coordinates(head.predict(digits, batch_size=1000, verbose=0), PLACE)
    features = keras.Input((_FEATURES,))
    hidden = layers.Dense(PLACE_HIDDEN, activation="relu")(features)
    placing = keras.Model(features, layers.UnitNormalization()(layers.Dense(PLACE)(hidden)), name="place")
    inputs, targets = np.concatenate([digits, copies]), np.concatenate([places, places])
    steps = PLACE_EPOCHS * -(-len(inputs) // BATCH_DIGITS)
    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
    placing.compile(optimizer=keras.optimizers.Adam(rate), loss="mse")
    placing.fit(inputs, targets, batch_size=BATCH_DIGITS, epochs=PLACE_EPOCHS, verbose=2)
    return placing


def _weighed(
    weights: NDArray[np.float32], bias: NDArray[np.float32], features: NDArray[np.float32]
) -> list[NDArray[np.float32]]:
    """The layer turned to the principal axes of its output, each axis multiplied by the square root of its deviation.

    The first dimensions then count most, so that an exact search can exclude most digits by a few of them.
    """
    numbers = features @ weights + bias
    variance, axes = np.linalg.eigh(np.cov(numbers, rowvar=False))
    turned = (axes * (variance / variance[-1]) ** 0.25)[:, ::-1].astype(np.float32)
    return [weights @ turned, (bias - numbers.mean(0)) @ turned]


def _straighten(_: keras.Model, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    straight: NDArray[np.float32] = Straightening()(pixels).numpy()
    return straight


RECIPE = Recipe(
    keras_file="encoder.keras",
    epochs=10,
    batch_images=BATCH_DIGITS,
    examples_an_image=2,
    build=build_head,
    training=_training,
    validation=_validation,
    exported=_exported,
    shown=("straightened", _straighten),
    titles={"loss": "Loss (NT-Xent)", "found": "Copy nearest of a batch's 500"},
    facts={
        "what": (
            "Oriented edges of a straightened digit through one dense layer, and where it stands among other digits through two: "
            "28 x 28 grey pixels to 128 numbers."
        ),
        "loss_function": "NT-Xent between digits and altered copies, from a discriminant analysis of the same on",
    },
    figures={"loss": "loss", "validation_loss": "val_loss", "found": "found", "validation_found": "val_found"},
)
