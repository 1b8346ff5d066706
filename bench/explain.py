"""How good explanations are: edits and amounts found on altered copies, other digits called copies, confidence, and time."""

import time
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.embeddings import gallery
from bench.machine import machine, versions
from contract.settings import Settings
from model import mnist
from model.encoder import load_encoder
from model.training.alterations import ALTERATIONS
from model.training.single_edits import SINGLE_EDITS, is_amount_right
from model.verdicts.digits.explanation import explain_digit
from model.verdicts.explainer import Explainer
from model.verdicts.frames import Shown
from runtime.progress import progress_line

# Not the seed with which thresholds were chosen.
SEED = 20_260
NEIGHBOURS = 10
BLOCK = 200
CONFIDENCE_BINS = (0.0, 0.1, 0.5, 0.9, 0.99, 1.001)


def measure_explain(settings: Settings, copies: int, pairs: int, questions: int) -> dict[str, Any]:
    """Explain copies of test digits, then pairs of neighbours among the training digits, then questions of ten matches.

    The neighbours are those under the encoder of the settings.
    """
    encoder = load_encoder(settings.encoder, settings.encoders_dir)
    of_copies, of_mild = _copies(copies), _mild(max(copies // 10, 1))
    neighbours = _neighbours(gallery(encoder, 60_000, settings.var_dir / "bench"), pairs)
    of_pairs = _pairs(neighbours)
    confidences = [(confidence, True) for confidence in of_copies.pop("confidences")]
    confidences += [(confidence, True) for confidence in of_mild.pop("confidences")]
    confidences += [(confidence, False) for confidence in of_pairs.pop("confidences")]
    return {
        "encoder": encoder.name,
        "machine": machine(),
        "versions": versions(),
        "copies": of_copies,
        "copies_by_many_edits": of_mild,
        "neighbours": of_pairs,
        "confidence": _calibration(confidences),
        "ten_matches": _times(neighbours, questions),
    }


def _copies(count: int) -> dict[str, Any]:
    random = np.random.default_rng(SEED)
    names = list(SINGLE_EDITS)
    lines = {name: {"copies": 0, "named": 0, "right": 0} for name in names}
    confidences = []
    with progress_line("altered copies", count, "copies") as progress:
        for number in range(count):
            digit = mnist.images("test")[random.integers(10_000)]
            edited = SINGLE_EDITS[names[number % len(names)]](Image.fromarray(digit), random)
            told = explain_digit(np.asarray(edited.image), digit)
            is_named = [edit.name for edit in told.edits] == [edited.name]
            line = lines[edited.name]
            line["copies"] += 1
            line["named"] += is_named
            line["right"] += is_named and is_amount_right(edited.name, told.edits[0].amount, edited.amount)
            confidences.append(told.confidence)
            progress.update(1)
    right = sum(line["right"] for line in lines.values())
    return {
        "count": count,
        "right_edit_and_amount": round(right / count, 4),
        "by_edit": {name: _shares(line) for name, line in lines.items() if line["copies"]},
        "confidences": confidences,
    }


def _shares(line: dict[str, int]) -> dict[str, float]:
    return {name: round(line[name] / line["copies"], 3) for name in ("named", "right")}


def _mild(count: int) -> dict[str, Any]:
    """Copies that were turned, scaled, cropped, blurred, made noisy, inverted and saved as JPEG, each a little."""
    random = np.random.default_rng(SEED + 1)
    told = [
        explain_digit(np.asarray(ALTERATIONS["mild"](Image.fromarray(digit), random)), digit)
        for digit in mnist.images("test")[random.integers(0, 10_000, count)]
    ]
    return {
        "count": count,
        "called_copies": round(sum(each.verdict == "altered copy" for each in told) / count, 3),
        "confidences": [each.confidence for each in told],
    }


def _neighbours(embeddings: NDArray[np.float32], pairs: int) -> NDArray[np.intp]:
    """Training digits and their nearest ten others, as (pairs, 2); fewer pairs are the first ones of more."""
    count = -(-pairs // NEIGHBOURS)
    asked = np.random.default_rng(SEED + 2).permutation(len(embeddings))[:count]
    norms = np.einsum("ij,ij->i", embeddings, embeddings)
    found = []
    with progress_line("neighbours", count, "digits") as progress:
        for at in range(0, count, BLOCK):
            block = asked[at : at + BLOCK]
            distances = norms - 2 * (embeddings[block] @ embeddings.T)
            distances[np.arange(len(block)), block] = np.inf
            nearest = np.argpartition(distances, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
            found.append(np.stack([np.repeat(block, NEIGHBOURS), nearest.ravel()], axis=1))
            progress.update(len(block))
    return np.concatenate(found)[:pairs]


def _pairs(neighbours: NDArray[np.intp]) -> dict[str, Any]:
    digits, labels = mnist.images("train"), mnist.labels("train")
    confidences, took_ms, false = [], [], np.zeros(10, int)
    with progress_line("near neighbours", len(neighbours), "pairs") as progress:
        for query, match in neighbours:
            began = time.thread_time()
            told = explain_digit(digits[query], digits[match])
            took_ms.append((time.thread_time() - began) * 1000)
            confidences.append(told.confidence)
            false[labels[query]] += told.verdict != "similar"
            progress.update(1)
    return {
        "pairs": len(neighbours),
        "called_copies": round(int(false.sum()) / len(neighbours), 5),
        "cpu_ms_a_pair_p50": round(float(np.median(took_ms)), 2),
        "of_them_by_label": {str(label): int(n) for label, n in enumerate(false) if n},
        "confidences": confidences,
    }


def _calibration(confidences: list[tuple[float, bool]]) -> list[dict[str, Any]]:
    """Of the pairs whose confidence lies in a bin the share of copies, with as many copies as other pairs."""
    said = np.array([confidence for confidence, _ in confidences])
    is_copy = np.array([copy for _, copy in confidences])
    weights = np.where(is_copy, 1 / max(is_copy.sum(), 1), 1 / max((~is_copy).sum(), 1))
    lines = []
    for low, high in pairwise(CONFIDENCE_BINS):
        inside = (said >= low) & (said < high)
        if inside.any():
            weight = weights[inside]
            lines.append(
                {
                    "from": low,
                    "to": min(high, 1.0),
                    "pairs": int(inside.sum()),
                    "mean_confidence": round(float(np.average(said[inside], weights=weight)), 3),
                    "share_of_copies": round(float(weight[is_copy[inside]].sum() / weight.sum()), 3),
                }
            )
    return lines


def _times(neighbours: NDArray[np.intp], questions: int) -> dict[str, Any]:
    """A digit explained by its ten nearest, through the child as the API asks it; one of the ten is what it was made of."""
    random = np.random.default_rng(SEED + 3)
    digits = mnist.images("train")
    names = list(SINGLE_EDITS)
    took_ms = []
    explainer = Explainer()
    try:
        explainer.explanations(_shown(digits[0]), [_shown(digits[1])])
        asked = neighbours[: len(neighbours) // NEIGHBOURS * NEIGHBOURS].reshape(-1, NEIGHBOURS, 2)[:questions]
        with progress_line("ten matches", len(asked), "questions") as progress:
            for number, group in enumerate(asked):
                original = digits[group[0, 0]]
                query = SINGLE_EDITS[names[number % len(names)]](Image.fromarray(original), random).image
                matches = [_shown(original), *(_shown(digits[match]) for match in group[1:, 1])]
                began = time.perf_counter()
                told = explainer.explanations(_shown(np.asarray(query)), matches)
                took_ms.append((time.perf_counter() - began) * 1000)
                assert told is not None
                progress.update(1)
    finally:
        explainer.close()
    p50, p99 = np.percentile(took_ms, [50, 99])
    return {"questions": len(took_ms), "p50_ms": round(float(p50), 1), "p99_ms": round(float(p99), 1)}


def _shown(digit: NDArray[np.uint8]) -> Shown:
    return Shown(mnist.png(digit), digit.shape[1], digit.shape[0])
