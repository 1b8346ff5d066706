"""A recipe for each encoder that learns from digits: its network, its data, and the texts of its card. Needs TensorFlow."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from contract.errors import ConfigurationError

_MODULES = {"report-autoencoder": "model.training.autoencoder", "contrast": "model.training.contrast"}
Examples = tuple[NDArray[Any], NDArray[Any]]


@dataclass(frozen=True)
class Recipe:
    """How one encoder is trained and exported.

    Attributes:
        keras_file: name of the Keras model in the encoder's folder.
        epochs: unless asked for otherwise.
        batch_images: training digits in a batch.
        examples_an_image: inputs that are made of each of them.
        build: the model that is trained, compiled; from the state folder.
        training: from the state folder and an order (60000,) of the training digits to inputs and targets of an epoch,
            ready to be cut into batches; `epoch` may choose among what the folder holds.
        validation: the same of the test digits.
        exported: from the trained model and the state folder to what is kept, and the encoder from pixels to embeddings in it.
        shown: a word, and from the kept model and pixels (n, 28, 28, 1) to the pictures that it stands below.
        titles: the curves to draw, by what the history calls them.
        facts: the card's words.
        figures: what the card calls columns of the history.
    """

    keras_file: str
    epochs: int
    batch_images: int
    examples_an_image: int
    build: Callable[[Path], keras.Model]
    training: Callable[[Path, NDArray[np.intp], int], Examples]
    validation: Callable[[Path], Examples]
    exported: Callable[[keras.Model, Path], tuple[keras.Model, keras.Model]]
    shown: tuple[str, Callable[[keras.Model, NDArray[np.float32]], NDArray[np.float32]]]
    titles: dict[str, str]
    facts: dict[str, Any]
    figures: dict[str, str]


def load_recipe(name: str) -> Recipe:
    """The recipe of the encoder of that name.

    Raises:
        ConfigurationError: there is none; the message lists the ones there are.
    """
    if name not in _MODULES:
        raise ConfigurationError(f"There is no recipe for an encoder {name!r}, only: {', '.join(_MODULES)}.")
    recipe: Recipe = import_module(_MODULES[name]).RECIPE
    return recipe
