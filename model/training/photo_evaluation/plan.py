"""What an evaluation is to measure, and on what."""

from dataclasses import dataclass, field
from pathlib import Path

from model.training.photo_evaluation.crew import cores
from model.training.photo_evaluation.describers import PEERS

_SEED = 1


@dataclass(frozen=True)
class Plan:
    """What to measure on what.

    Attributes:
        photos: folder whose photos are searched by class, and altered.
        distractors: folder of photos that are in the gallery of altered copies beside them.
        peers: measured beside the encoders, where what they need is here.
        sscd: folder with SSCD's weights, where its package is not installed.
        copies: photos that are altered in every way.
        thorough_copies: of those, the first so many are also searched with effort=thorough; 0 leaves that out.
        seed: of the choice of photos, and of what edits leave to chance.
    """

    photos: Path
    encoders: tuple[str, ...]
    distractors: Path | None = None
    peers: tuple[str, ...] = PEERS
    sscd: Path | None = None
    copies: int = 1000
    thorough_copies: int = 100
    seed: int = _SEED
    processes: int = field(default_factory=cores)
