"""What is fuzzed keeps its promises on its corpus and on a few changed inputs; `make faults` goes on for ten minutes."""

import importlib
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import SEED
from tests.fuzz.__main__ import TARGETS
from tests.mutations import mutated

ROOT = Path(__file__).parents[2]
MEMORY = Path("/dev/shm")
SECONDS = int(os.environ.get("LOOKALIKE_TEST_FUZZ_S") or 120)


@pytest.mark.parametrize("name", TARGETS)
def test_corpus_and_a_few_changed_inputs_break_no_promise(name: str, chance: random.Random) -> None:
    target = importlib.import_module(f"tests.fuzz.{name}")
    corpus = target.corpus()
    for value in corpus:
        target.attempt(value)
    for _ in range(100):
        value = mutated(chance.choice(corpus), corpus, chance)
        try:
            target.attempt(value)
        except BaseException as error:
            raise AssertionError(f"{name} breaks its promise on {value!r}") from error


def test_what_is_written_while_fuzzing_is_gone_afterwards(tmp_path: Path) -> None:
    """Where the kernel keeps files in memory, they would stay there until the machine is started again."""
    code = "import tests.fuzz.manifests as target; assert target._FOLDER.is_dir(); print(target._FOLDER)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    assert not Path(done.stdout.strip()).exists()


@pytest.mark.thorough
@pytest.mark.timeout(SECONDS + 400)
@pytest.mark.parametrize("name", TARGETS)
def test_fuzzing_guided_by_coverage_breaks_no_promise(name: str, tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="it comes with `make fuzz-deps`")
    before = set(MEMORY.glob("lookalike-fuzz-*"))
    command = [sys.executable, "-m", "tests.fuzz", name]
    options = ["--seconds", str(SECONDS), "--seed", str(SEED), "--folder", str(tmp_path)]
    done = subprocess.run(
        [*command, *options], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert set(MEMORY.glob("lookalike-fuzz-*")) <= before
    findings = [str(path) for path in (tmp_path / name / "findings").glob("*")]
    assert done.returncode == 0 and not findings, f"{findings}\n{done.stdout[-5000:]}"
    print(*(line for line in done.stdout.splitlines() if line.startswith("stat::")), sep="\n")
