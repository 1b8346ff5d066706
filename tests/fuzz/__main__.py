"""Fuzzes one target for some time, guided by what of our code its inputs reach: `python -m tests.fuzz pictures --seconds 60`.

An input that breaks a promise ends it with a status that is not 0, and lies in the folder of findings; attempt it again with
`python -m tests.fuzz pictures --again <file>`. Needs atheris: `make fuzz-deps`.
"""

import argparse
import importlib
import logging
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

import structlog

from tests.mutations import mutated

TARGETS = ("pictures", "messages", "filters", "manifests", "tails")
ROOT = Path(__file__).parents[2]
# What numba compiles must stay as it is written.
COMPILED = [f"gallery.nearest.{path.stem}" for path in (ROOT / "gallery" / "nearest").glob("*.py")]


def main(argv: list[str]) -> int:
    """Run it in a process of its own, which ends itself once the time is over; returns its status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("var/fuzz"), help="for corpus and findings")
    parser.add_argument("--again", type=Path, help="attempt only this file")
    asked = parser.parse_args(argv)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))  # refusals are no news
    if asked.again:
        importlib.import_module(f"tests.fuzz.{asked.target}").attempt(asked.again.read_bytes())
        return 0
    import atheris

    with atheris.instrument_imports(include=["contract", "gallery", "model", "PIL"], exclude=COMPILED):
        target = importlib.import_module(f"tests.fuzz.{asked.target}")
    corpus, findings = asked.folder / asked.target / "corpus", asked.folder / asked.target / "findings"
    for folder in (corpus, findings):
        folder.mkdir(parents=True, exist_ok=True)
    if child := os.fork():  # libFuzzer ends its process at once: what the target wants done at the end, this one does
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    begin = target.corpus()
    for number, value in enumerate(begin):
        (corpus / f"begin-{number:03}").write_bytes(value)
    options = [
        f"-max_total_time={asked.seconds}",
        f"-seed={asked.seed % 2**31 or 1}",
        f"-artifact_prefix={findings}/",
        "-timeout=60",
        "-rss_limit_mb=4096",
        f"-max_len={target.SIZE_BYTES_MAX}",
        "-print_final_stats=1",
        "-verbosity=1",
    ]
    atheris.Setup(
        [sys.argv[0], str(corpus), *options],
        target.attempt,
        # Looked up when it is called: Setup puts another one there.
        custom_mutator=_mutator(lambda value, size_max: bytes(atheris.Mutate(value, size_max)), begin),
    )
    atheris.Fuzz()
    return 0


def _mutator(usual: Callable[[bytes, int], bytes], others: list[bytes]) -> Callable[[bytes, int, int], bytes]:
    """libFuzzer's own changes, and half of the time ours, which take pieces of the other files."""

    def mutate(value: bytes, size_max: int, seed: int) -> bytes:
        chance = random.Random(seed)
        return usual(value, size_max) if chance.random() < 0.5 else mutated(value, others, chance)[:size_max]

    return mutate


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
