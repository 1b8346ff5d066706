"""What searching a collection of photographs for duplicates costs: the comparison of all with all, the groups, and verdicts."""

import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.machine import machine, versions
from bench.photographs import gallery_photographs
from contract.settings import Settings
from gallery.duplicates.found import Judgement
from gallery.duplicates.grouping import Grouping, NearPair
from model.encoder import Encoder, load_encoder
from model.pictures.images import decode
from model.verdicts.explainer import Explainer
from model.verdicts.frames import Shown
from runtime.progress import progress_line

# How far altered copies lie from their photograph, and how many of all are ones: as those of `model evaluate --photos` do.
COPIES, COPY_DISTANCES = 0.1, (0.2, 1.4)
BURST = 500
_SEED = 1


def measure_duplicates(
    settings: Settings, images: int, embedded: int, pairs: int, *, folder: Path | None
) -> dict[str, Any]:
    """Seconds of each part over embeddings that lie as those of photographs do.

    Args:
        embedded: photographs that are really embedded; the other embeddings are drawn with their mean and covariance.
        pairs: that are judged to tell what one costs.
        folder: of photographs; None are parts of two that are here.
    """
    encoder = load_encoder("photo", settings.encoders_dir)
    photographs = list(gallery_photographs(embedded, folder))
    embeddings = drawn_like(embedded_photographs(encoder, photographs), images)
    asked: list[int] = []
    took: dict[str, float] = {}

    def judge(wanted: Any) -> dict[tuple[int, int], Judgement]:
        took["compare_s"] = round(time.perf_counter() - began, 2)
        asked.append(len(wanted))
        return {_names(pair): Judgement(True) for pair in wanted if pair.distance < COPY_DISTANCES[0]}

    began = time.perf_counter()
    hashes = [number.to_bytes(8) for number in range(images)]
    groups = Grouping(embeddings, hashes, hashes, {}, encoder.copies_within, judge).groups()
    took["all_s"] = round(time.perf_counter() - began, 2)
    verdict_ms = _verdict_ms(encoder, photographs, pairs)
    return {
        "machine": machine(),
        "versions": versions(),
        "images": images,
        "dimensions": encoder.dimensions,
        "max_distance": encoder.copies_within,
        **took,
        "group_s": round(took["all_s"] - took["compare_s"], 2),
        "groups": len(groups),
        "images_in_groups": sum(len(group.rows) for group in groups),
        "pairs_to_judge": asked[0],
        "verdict_ms": verdict_ms,
        "with_10000_verdicts_s": round(took["all_s"] + 10_000 * verdict_ms / 1000 / 2, 1),
    }


def _names(pair: NearPair) -> tuple[int, int]:
    return pair.copy, pair.original


def embedded_photographs(encoder: Encoder, photographs: list[bytes]) -> NDArray[np.float32]:
    """(n, d) float32."""
    with progress_line("embedding", len(photographs)) as bar:
        found = []
        for value in photographs:
            found.append(encoder.embed(encoder.pixels(decode(value).image)))
            bar.update(1)
    return np.stack(found)


def drawn_like(embedded: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """`count` embeddings: strangers as likely as these, altered copies of a tenth of them, and a burst of one."""
    random = np.random.default_rng(_SEED)
    n, d = embedded.shape
    length = float(np.linalg.norm(embedded, axis=1).mean())
    values, directions = np.linalg.eigh(np.cov(embedded.T))
    drawn = random.standard_normal((count, d)) * np.sqrt(np.maximum(values, 0)) @ directions.T + embedded.mean(0)
    drawn[: min(n, count)] = embedded[:count]
    copies = random.choice(count, int(count * COPIES), replace=False)
    away = random.standard_normal((len(copies), d))
    away *= random.uniform(*COPY_DISTANCES, (len(copies), 1)) / np.linalg.norm(away, axis=1, keepdims=True)
    drawn[copies] = drawn[random.integers(0, count, len(copies))] + away
    drawn[-BURST:] = drawn[0] + random.standard_normal((min(BURST, count), d)) * 0.01
    drawn *= length / np.linalg.norm(drawn, axis=1, keepdims=True)
    found: NDArray[np.float32] = drawn.astype(np.float32)
    return found


def _verdict_ms(encoder: Encoder, photographs: list[bytes], pairs: int) -> float:
    """Of one pair in one process, when it is none: then it is asked the other way round as well."""
    pictures = [decode(value, encoder.thumbnail_side_px) for value in photographs[: pairs + 1]]
    shown = [Shown(picture.thumbnail, picture.width, picture.height) for picture in pictures]
    explainer = Explainer()
    try:
        explainer.explanations(shown[0], [shown[0]], "photographs")
        began = time.perf_counter()
        for one, other in itertools.pairwise(shown):
            explainer.explanations(one, [other], "photographs")
            explainer.explanations(other, [one], "photographs")
        return round((time.perf_counter() - began) * 1000 / max(1, len(shown) - 1), 1)
    finally:
        explainer.close()
