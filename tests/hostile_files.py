"""Files put through real decoder children, and what is demanded of each whatever it holds."""

import time
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from contract.messages import IMAGE_PIXELS_MAX
from model.limited_process import TRIES, WALL_LIMIT_S
from model.pictures.decoder import Decoded, Decoder
from tests.unit.test_images import DIGIT

REASONS = {
    *("", "empty", "too-large", "unsupported-type", "too-many-pixels", "too-many-scans", "truncated", "corrupt"),
    *("decoder-timeout", "decoder-memory", "decoder-crashed"),
}
ENCODER = "report-autoencoder"
TOGETHER = 20


def judged(values: Iterable[bytes], decoder: Decoder) -> list[Decoded]:
    """The verdict on each, from a decoder of that encoder; a good picture in their midst is decoded as ever.

    Raises:
        AssertionError: a verdict is none of those that there are, is not sound, or took longer than the limits allow.
    """
    (good,) = decoder.decode([DIGIT]).images
    assert good.reason == ""
    waiting, verdicts = list(values), list[Decoded]()
    while waiting:
        some, waiting = waiting[:TOGETHER], waiting[TOGETHER:]
        began_s = time.monotonic()
        *found, last = decoder.decode([*some, DIGIT]).images
        # Every one of them may be tried again alone, and be stopped at the limit each time.
        assert time.monotonic() - began_s < (1 + TRIES * len(some)) * WALL_LIMIT_S
        assert last == good and len(found) == len(some)
        for verdict in found:
            check_verdict(verdict)
        verdicts += found
    return verdicts


def check_verdict(verdict: Decoded) -> None:
    """One of the reasons with a sentence, or a picture with a finite embedding."""
    assert verdict.reason in REASONS, verdict
    if verdict.reason:
        assert verdict.detail and not verdict.embedding
    else:
        assert 1 <= verdict.width * verdict.height <= IMAGE_PIXELS_MAX
        assert np.isfinite(np.frombuffer(verdict.embedding, "<f4")).all()


def counted(verdicts: Sequence[Decoded]) -> str:
    """How many there are of each reason, for people."""
    return ", ".join(f"{n} {reason or 'accepted'}" for reason, n in Counter(v.reason for v in verdicts).most_common())
