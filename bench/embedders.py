"""How many images a second embedders take from Kafka: with the store and without, on one core and on more."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.own_pipeline import own_pipeline
from contract.errors import DependencyError
from contract.settings import Settings
from model import mnist
from runtime.progress import progress_line
from stack.process import Child, start_child
from stack.programs import environment
from stack.service import Service
from topics.publisher import ImagePublisher

ROUNDS = 3
WARM_UP_IMAGES = 128
TIMEOUT_S = 120.0
POLL_S = 0.01


@dataclass(frozen=True)
class Case:
    """Embedders that share one topic, each with the cores that it may use; None are all."""

    name: str
    cores: tuple[tuple[int, ...] | None, ...]
    has_store: bool = True


def cases() -> list[Case]:
    """What is compared. Cores can be chosen on Linux only."""
    found = [Case("one embedder", (None,)), Case("one embedder, a store that does nothing", (None,), has_store=False)]
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) >= 2:
        found += [
            Case("one embedder on one core", ((0,),)),
            Case("one embedder on two cores", ((0, 1),)),
            Case("two embedders on one core", ((0,), (0,))),
            Case("two embedders on two cores", ((0,), (1,))),
        ]
    return found


def measure_embedders(
    settings: Settings, pngs: list[bytes], rounds: int = ROUNDS, compared: Sequence[Case] | None = None
) -> list[dict[str, Any]]:
    """A row a case: images a second, from topic to acknowledged, of the median round.

    The embedders are paused while the images are published, so that nothing else runs while they work. Each case has a topic of its own in a keyspace beside the one of the running stack.
    """
    compared = cases() if compared is None else compared
    rows = []
    with progress_line("embedders", len(compared), "cases") as bar:
        for case in compared:
            with own_pipeline(settings, "embedders") as own, _running(own, case) as logs:
                taken_s = [_round(own, logs, pngs, number) for number in range(rounds)]
                median_s = float(np.median(taken_s))
                rows.append(
                    {
                        "method": case.name,
                        "images": len(pngs),
                        "rounds": rounds,
                        "images_per_s": round(len(pngs) / median_s, 1),
                        "worst_images_per_s": round(len(pngs) / max(taken_s), 1),
                        "stages_us_per_image": logs.stages_us(),
                    }
                )
            bar.update(1)
    return rows


class WorkerLogs:
    """What the embedders write about their batches."""

    def __init__(self, children: list[Child], files: list[Path]) -> None:
        self.children = children
        self._files = files

    def counts(self) -> list[int]:
        """Images that each embedder has finished."""
        for child in self.children:
            if child.exit_code() is not None:
                raise DependencyError("embedder", f"It ended. {child.last_words()}")
        return [sum(batch["count"] for batch in self._batches(file)) for file in self._files]

    def batch_count(self) -> int:
        """Batches that all of them have finished."""
        return sum(len(self._batches(file)) for file in self._files)

    def stages_us(self) -> dict[str, float]:
        """Microseconds an image of each stage, over all embedders; judging and writing overlap."""
        batches = [batch for file in self._files for batch in self._batches(file)]
        count = sum(batch["count"] for batch in batches)
        stages = sorted({name for batch in batches for name in batch if name.endswith("_ms")})
        return {
            name.removesuffix("_ms"): round(sum(batch.get(name, 0.0) for batch in batches) * 1000 / count, 1)
            for name in stages
        }

    def send(self, number: signal.Signals) -> None:
        """A signal to every embedder and its children."""
        for child in self.children:
            os.killpg(child.pid, number)

    def _batches(self, file: Path) -> list[dict[str, Any]]:
        lines = file.read_text().splitlines() if file.exists() else []
        return [json.loads(line) for line in lines if '"event": "batch"' in line and line.endswith("}")]


@contextmanager
def _running(settings: Settings, case: Case) -> Iterator[WorkerLogs]:
    """The case's embedders, once each has finished some images."""
    files = [settings.var_dir / "logs" / f"embedder-{slot}.log" for slot in range(len(case.cores))]
    children: list[Child] = []
    try:
        for slot, cores in enumerate(case.cores):
            children.append(start_child(_service(settings, case, slot, cores, files[slot])))
        logs = WorkerLogs(children, files)
        deadline = time.monotonic() + TIMEOUT_S
        with ImagePublisher(settings) as publisher:
            sent = 0
            digit = mnist.png(mnist.images("train")[0])
            while not all(logs.counts()):
                if time.monotonic() > deadline:
                    raise DependencyError(
                        "embedder", f"no images went to each of {len(children)} in {TIMEOUT_S:.0f} s."
                    )
                for number in range(sent, sent + WARM_UP_IMAGES):
                    publisher.put(digit, image_id=f"warm/{number}")
                publisher.flush(30)
                sent += WARM_UP_IMAGES
                _wait_for_count(logs, sent, deadline)
        yield logs
    finally:
        for child in children:
            child.stop(10.0)


def _service(settings: Settings, case: Case, slot: int, cores: tuple[int, ...] | None, log: Path) -> Service:
    arguments = ["--slot", str(slot)]
    arguments += ["--cores", *map(str, cores)] if cores else []
    arguments += [] if case.has_store else ["--no-store"]
    return Service(
        name=f"embedder-{slot}",
        command=lambda: [sys.executable, "-m", "bench.worker", *arguments],
        log=log,
        environment=environment(settings),
    )


def _round(settings: Settings, logs: WorkerLogs, pngs: list[bytes], number: int) -> float:
    """Seconds that the embedders take for all images."""
    done = sum(logs.counts())
    logs.send(signal.SIGSTOP)
    try:
        with ImagePublisher(settings) as publisher:
            for n, png in enumerate(pngs):
                publisher.put(png, image_id=f"{number}/{n}")
    finally:
        logs.send(signal.SIGCONT)
    began = time.monotonic()
    _wait_for_count(logs, done + len(pngs), began + TIMEOUT_S)
    return time.monotonic() - began


def _wait_for_count(logs: WorkerLogs, count: int, deadline: float) -> None:
    while sum(logs.counts()) < count:
        if time.monotonic() > deadline:
            raise DependencyError("embedder", f"{sum(logs.counts())} of {count} images were done in {TIMEOUT_S:.0f} s.")
        time.sleep(POLL_S)
