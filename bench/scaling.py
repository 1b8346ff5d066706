"""One, two and three embedders on this machine: images a second at full speed, how fresh at a steady rate, and what each program took."""

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from bench.arrivals import CoverageWatcher, publish_paced
from bench.embedders import WorkerLogs
from bench.machine import machine, versions
from bench.own_pipeline import own_pipeline
from bench.processor_time import pids_of, processor_time
from contract.errors import DependencyError
from contract.settings import Settings
from model import mnist
from stack.process import Child, start_child
from stack.programs import embedder, indexer
from topics.publisher import ImagePublisher

COUNTS = (1, 2, 3)
# So that one, two and three embedders have as many each.
PARTITIONS = 6
WARM_UP_IMAGES = 600
IDLE_S = 5.0
WAIT_S = 600.0
# No base is built meanwhile: whether one falls into a round is chance.
NEVER_S, NEVER = 1e6, 10**9


def measure_scaling(
    settings: Settings, images: int, rates: Sequence[float], seconds: float, rounds: int, counts: Sequence[int] = COUNTS
) -> dict[str, Any]:
    """Figures of each round and number of embedders, in turn, so that all of them meet what else the machine does. Servers must run.

    Args:
        images: digits that lie in the topic when the embedders begin.
        rates: images a second of the steady parts, each so many `seconds` long.

    Raises:
        DependencyError: a server does not run, or nothing went on for ten minutes.
    """
    pngs = [mnist.png(image) for image in mnist.images("train")[:images]]
    figures: dict[str, Any] = {"machine": machine(), "versions": versions(), "partitions": PARTITIONS, "rounds": []}
    own = settings.model_copy(
        update={
            "kafka_partitions": PARTITIONS,
            "rebuild_interval_s": NEVER_S,
            "rebuild_tail_images": NEVER,
            "decoders": 1,  # on a busy machine digits can seem so costly that helpers are started, in the middle of a part
        }
    )
    # Kafka and Cassandra compile for a while what they do often, and whoever is first would pay for it.
    _round(settings, own, "scaling", 1, pngs, (), 0.0)
    for number in range(rounds):
        for count in counts:
            row = {"method": f"{count} embedder{'s' * (count > 1)}", "round": number, "embedders": count}
            name = f"scaling{number}_{count}"  # a consumer group of its own, without former members
            figures["rounds"].append(row | _round(settings, own, name, count, pngs, rates, seconds))
    return figures


def _round(
    settings: Settings,
    wanted: Settings,
    name: str,
    count: int,
    pngs: list[bytes],
    rates: Sequence[float],
    seconds: float,
) -> dict[str, Any]:
    with own_pipeline(wanted, name) as own, _running(own, count) as (logs, followed, pids):
        every = pids_of(settings, "servers") | pids
        watcher = CoverageWatcher(own.encoder_index_dir)
        try:
            _warm_up(own, logs, watcher, pngs[0])
            with _usage(every, logs, followed) as idle:
                time.sleep(IDLE_S)
            row: dict[str, Any] = {"idle": idle}
            row["full_speed"] = _full_speed(own, logs, followed, watcher, pngs, every)
            row["steady"] = []
            for rate in rates:
                with _usage(every, logs, followed) as usage:
                    paced = publish_paced(own, watcher, pngs, rate=rate, seconds=seconds, prefix=f"{rate:g}")
                row["steady"].append(paced.figures(rate) | usage)
        finally:
            watcher.close()
    return row


def _full_speed(
    own: Settings,
    logs: WorkerLogs,
    followed: "Generations",
    watcher: CoverageWatcher,
    pngs: list[bytes],
    pids: dict[str, int],
) -> dict[str, Any]:
    done = sum(logs.counts())
    logs.send(signal.SIGSTOP)
    try:
        with ImagePublisher(own) as publisher:
            futures = [publisher.put(png, image_id=f"full/{n}") for n, png in enumerate(pngs)]
            confirmed = [future.result(120) for future in futures]
        with _usage(pids, logs, followed) as usage:
            logs.send(signal.SIGCONT)
            began = time.time()
            _wait_for(logs, done + len(pngs))
            embedded_s = time.time() - began
            searchable_s = float(watcher.wait_covered(confirmed).max()) - began
    finally:
        logs.send(signal.SIGCONT)
    return {
        "images": len(pngs),
        "images_per_s": round(len(pngs) / embedded_s, 1),
        "searchable_per_s": round(len(pngs) / searchable_s, 1),
        **usage,
    }


class Generations:
    """What an indexer writes of the generations that it published."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def count(self) -> int:
        """So far."""
        return self._file.read_text().count('"event": "published"') if self._file.exists() else 0


@contextmanager
def _usage(pids: dict[str, int], logs: WorkerLogs, followed: Generations) -> Iterator[dict[str, Any]]:
    """Processor time by program, cores that others took, batches and generations; in the dict once the block has ended."""
    figures: dict[str, Any] = {}
    batches, generations, busy_s, began = logs.batch_count(), followed.count(), _busy_s(), time.monotonic()
    with processor_time(pids) as taken_s:
        yield figures
    wall_s, all_s = time.monotonic() - began, _busy_s() - busy_s
    figures |= {
        "wall_s": round(wall_s, 3),
        "processor_s": _together(taken_s),
        "cores_of_others": round(max(0.0, all_s - sum(taken_s.values())) / wall_s, 3),
        "batches": logs.batch_count() - batches,
        "generations": followed.count() - generations,
    }


def _together(taken_s: dict[str, float]) -> dict[str, float]:
    """Embedders under one name, as their children are."""
    found: dict[str, float] = {}
    for name, seconds in taken_s.items():
        whose, apostrophe, rest = name.partition("'")
        shown = whose.partition("-")[0] + apostrophe + rest
        found[shown] = round(found.get(shown, 0.0) + seconds, 3)
    return found


def _busy_s() -> float:
    """Processor time of all cores that was not idle."""
    times = psutil.cpu_times()
    return float(
        sum(times)
        - times.idle
        - getattr(times, "iowait", 0.0)
        - getattr(times, "guest", 0.0)
        - getattr(times, "guest_nice", 0.0)
    )


@contextmanager
def _running(settings: Settings, count: int) -> Iterator[tuple[WorkerLogs, Generations, dict[str, int]]]:
    services = [indexer(settings)]
    for slot in range(count):
        one = embedder(settings, slot)
        services.append(replace(one, name=f"embedder-{slot}", log=one.log.with_stem(f"embedder-{slot}")))
    children: list[Child] = []
    try:
        for service in services:
            children.append(
                start_child(service)
            )  # one by one, so that those that were started end when another one does not start
        logs = WorkerLogs(children[1:], [service.log for service in services[1:]])
        pids = {service.name: child.pid for service, child in zip(services, children, strict=True)}
        yield logs, Generations(services[0].log), pids
    finally:
        for child in reversed(children):
            child.stop(20.0)


def _warm_up(settings: Settings, logs: WorkerLogs, watcher: CoverageWatcher, png: bytes) -> None:
    """Until each embedder has finished some images, and all are searchable."""
    deadline = time.monotonic() + WAIT_S
    sent, confirmed = 0, []
    with ImagePublisher(settings) as publisher:
        while not all(logs.counts()):
            futures = [publisher.put(png, image_id=f"warm/{n}") for n in range(sent, sent + WARM_UP_IMAGES)]
            confirmed += [future.result(120) for future in futures]
            sent += WARM_UP_IMAGES
            _wait_for(logs, sent, deadline)
    watcher.wait_covered(confirmed)


def _wait_for(logs: WorkerLogs, count: int, deadline: float | None = None) -> None:
    end = time.monotonic() + WAIT_S if deadline is None else deadline
    while sum(logs.counts()) < count:
        if time.monotonic() > end:
            raise DependencyError("embedder", f"{sum(logs.counts())} of {count} images were done in {WAIT_S:.0f} s.")
        time.sleep(0.02)
