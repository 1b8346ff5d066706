"""Linear maps from a network's features to few numbers that keep what matters."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

Floats = NDArray[np.float32]

# How much photographs of one folder, and altered views of one photograph, are drawn together; and what is added to either
# scatter, as a share of its mean, so that directions in which there is little of it are not blown up.
FOLDER_SHARE, _RIDGE = 0.5, 1.0
# Directions of little spread are mostly noise: they count less than whitening would make them.
WHITENING_FLOOR = 0.3


@dataclass(frozen=True)
class Projection:
    """x to (x - mean) @ matrix: `mean` (m,), `matrix` (m, n)."""

    mean: Floats
    matrix: Floats

    def __call__(self, features: Floats) -> Floats:
        """Features (k, m) to (k, n)."""
        projected: Floats = np.matmul(features - self.mean, self.matrix, dtype=np.float32)
        return projected


def discriminant(features: Floats, altered: Floats, folders: NDArray[np.intp], numbers: int) -> Projection:
    """The directions in which photographs differ most beside what edits change and what differs within a folder (Fisher 1936).

    Args:
        features: (n, m), a row a photograph.
        altered: (k, views, m) of altered views of photographs.
        folders: (n,), a number for the folder of each photograph.
    """
    mean = features.mean(0)
    centred = features - mean
    by_edits = _scatter((altered - altered.mean(1, keepdims=True)).reshape(-1, features.shape[1]))
    by_folder = _scatter(features - _means(features, folders))
    within = (1 - FOLDER_SHARE) * _ridged(by_edits) + FOLDER_SHARE * _ridged(by_folder)
    _, directions = eigh(_scatter(centred), within)
    return Projection(mean, directions[:, ::-1][:, :numbers].astype(np.float32))


def whitening(features: Floats, numbers: int) -> Projection:
    """The principal coordinates of features (n, m), each divided by its spread."""
    mean = features.mean(0)
    _, spread, directions = np.linalg.svd(features - mean, full_matrices=False)
    spread = spread / np.sqrt(len(features))
    matrix = directions[:numbers].T / (spread[:numbers] + WHITENING_FLOOR * spread[0])
    return Projection(mean, matrix.astype(np.float32))


def _scatter(rows: Floats) -> NDArray[np.float64]:
    scatter: NDArray[np.float64] = (rows.T @ rows / len(rows)).astype(np.float64)
    return scatter


def _ridged(scatter: NDArray[np.float64]) -> NDArray[np.float64]:
    level = float(np.trace(scatter)) / len(scatter)
    ridged: NDArray[np.float64] = scatter / level + _RIDGE * np.eye(len(scatter))
    return ridged


def _means(features: Floats, folders: NDArray[np.intp]) -> Floats:
    """Of each row, the mean of its folder."""
    sums = np.zeros((folders.max() + 1, features.shape[1]), np.float64)
    np.add.at(sums, folders, features)
    return (sums / np.bincount(folders)[:, None])[folders].astype(np.float32)
