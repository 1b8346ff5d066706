"""Programs of two encoders beside each other, and clients that search and publish while one takes the other's place."""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from contract.settings import Settings
from gallery.generations.reader import Reader
from gallery.generations.snapshot import Snapshot
from gallery.store.store import Store
from gallery.verify import verify
from lookalike_client import ApiError, Client
from model import mnist
from model.encoder import load_encoder
from runtime.failpoints import VARIABLE
from stack import programs
from stack.jars import ROOT
from stack.process import Child, start_child
from stack.service import Service
from tests.decoders import decoders_of
from tests.waiting import wait_for
from topics.publisher import ImagePublisher
from topics.topic import ensure_topics

OLD, NEW = "report-autoencoder", "contrast"
# Without a pause clients take both of two cores, and nothing that is measured ever comes to its end.
SEARCH_PAUSE_S = 0.1
# The large test has eight clients and 200 images a second; the others are to pass on a machine that is busy with other things too.
CLIENTS, IMAGES_PER_S = 2, 20
PARTITIONS = 4
FINGERPRINTS = {load_encoder(name).fingerprint: name for name in (OLD, NEW)}


def picture(image_id: str) -> NDArray[np.uint8]:
    """What every image of this id shows: an id that is deleted and published again shows the same."""
    kind, number = image_id.split("/")
    pixels: NDArray[np.uint8] = mnist.images("train" if kind == "kept" else "test")[int(number)]
    return pixels


@cache
def embedding(encoder: str, image_id: str) -> NDArray[np.float64]:
    pixels = picture(image_id)[..., None].astype(np.float32) / 255
    found: NDArray[np.float64] = _encoder(encoder).embed(pixels).astype(np.float64)
    return found


@cache
def _encoder(name: str) -> Any:
    return load_encoder(name)


class Pipeline:
    """Our programs with the old encoder, and those of the new one beside them; each is started again when it ends."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        made = (programs.embedder(settings), programs.indexer(settings), programs.api(settings))
        self.services: dict[str, Service] = {service.name: service for service in (*made, *programs.beside(settings))}
        self.children: dict[str, Child] = {}
        self.client = Client(settings.api_address)

    def start(self, *names: str, failpoints: str = "") -> None:
        for name in names:
            service = self.services[name]
            armed = {**service.environment, VARIABLE: failpoints}
            self.children[name] = start_child(replace(service, environment=armed))

    def wait_ready(self) -> None:
        wait_for(lambda: programs.answers_ready(self.settings.api_address) or None, timeout_s=120)

    def stop(self, *names: str) -> None:
        for name in names or reversed(list(self.children)):
            self.children[name].stop(20)

    def kill(self, name: str) -> None:
        os.kill(self.children[name].pid, signal.SIGKILL)
        wait_for(lambda: self.children[name].exit_code())

    def restart(self, name: str) -> None:
        self.kill(name)
        self.start(name)

    def gallery(self, *arguments: str, failpoints: str = "") -> int:
        """The exit status of `python -m gallery …`."""
        done = subprocess.run(
            [sys.executable, "-m", "gallery", *arguments],
            cwd=ROOT,
            env={**os.environ, **programs.environment(self.settings), VARIABLE: failpoints},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        print(f"gallery {arguments}: {done.returncode} {done.stdout[-600:]} {done.stderr[-600:]}")
        return done.returncode

    def index(self, name: str) -> Any:
        """What the API says of one encoder's index; None while it says nothing."""
        try:
            return next((found for found in self.client.index()["indexes"] if found["name"] == name), None)
        except ApiError:
            return None

    def wait_lag(self, name: str, lag_max: int, timeout_s: float = 120.0) -> None:
        wait_for(
            lambda: ((found := self.index(name)) and found["lag"] is not None and found["lag"] <= lag_max) or None,
            timeout_s,
        )

    def wait_serving(self, name: str) -> None:
        began = time.monotonic()
        wait_for(lambda: ((found := self.index(name)) and found["is_serving"]) or None)
        print(f"{name} answers {time.monotonic() - began:.2f} s later")

    def decoders(self) -> list[str]:
        """Encoders of the API's decoder children."""
        return list(decoders_of(psutil.Process(self.children["api"].pid), recursive=True).values())

    def check_same_images(self, kept: int) -> int:
        """Both indexes come to hold exactly what their feeds say, and the same ids; returns how many."""
        ends = self.client.index()["coverage"]["end_offsets"]
        snapshots = wait_for(lambda: self._level(ends), 120)
        store = Store.connect(self.settings)
        assert [verify(snapshot, store.feed).differences for snapshot in snapshots] == [[], []]
        store.close()
        old, new = ({image_id: p for image_id, (p, _) in snapshot.contents()} for snapshot in snapshots)
        assert old == new
        assert {f"kept/{n}" for n in range(kept)} <= new.keys()
        return len(new)

    def _level(self, ends: dict[str, int]) -> list[Snapshot] | None:
        """Both indexes at the same offsets, which are at least `ends`."""
        found = [Reader(self.settings.index_dir / name, fingerprint=None).current() for name in (OLD, NEW)]
        snapshots = [snapshot for snapshot in found if snapshot is not None]
        reached = [snapshot.manifest.offsets for snapshot in snapshots]
        is_level = len(snapshots) == 2 and reached[0] == reached[1]
        return snapshots if is_level and all(reached[0][p] >= end for p, end in ends.items()) else None


class Load:
    """Clients that search for images that are there, and a producer that adds and deletes others, until it is left.

    Attributes:
        failed: searches that were not answered.
        answered: what each client was answered, in order: the query's id, and the answer.
    """

    def __init__(self, pipeline: Pipeline, kept: int, clients: int = CLIENTS, images_per_s: int = IMAGES_PER_S) -> None:
        self.failed: list[str] = []
        self.answered: list[list[tuple[str, Any]]] = [[] for _ in range(clients)]
        self.published = 0
        self._pipeline, self._kept, self._images_per_s = pipeline, kept, images_per_s
        self._stop = threading.Event()
        searching = [threading.Thread(target=self._search, args=(n,)) for n in range(clients)]
        self._threads = [threading.Thread(target=self._publish), *searching]

    def __enter__(self) -> "Load":
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._took = time.monotonic() - self._began

    def wait_answers(self, more: int) -> None:
        wanted = len(self.answered[0]) + more
        wait_for(lambda: len(self.answered[0]) >= wanted or None)

    def check(self, *encoders: str) -> None:
        """Every answer fits the encoder that it names, coverage never goes back, and all of `encoders` answered."""
        seen = set()
        for answers in self.answered:
            before: dict[str, int] = {}
            for image_id, answer in answers:
                name = FINGERPRINTS[answer.coverage.encoder]
                seen.add(name)
                assert (answer.matches[0].id, answer.matches[0].distance) == (image_id, 0.0)
                query = embedding(name, image_id)
                for match in answer.matches:
                    distance = np.linalg.norm(embedding(name, match.id) - query)
                    assert abs(match.distance - distance) < 1e-5, f"{match} under {name}, {distance} expected"
                offsets = answer.coverage.offsets
                assert all(offsets[p] >= offset for p, offset in before.items()), f"{before} before {offsets}"
                before = offsets
        assert seen == set(encoders)
        searches = sum(map(len, self.answered))
        rates = f"{searches / self._took:.0f} searches/s, {self.published / self._took:.0f} images/s"
        print(f"{searches} searches answered, {len(self.failed)} not, {rates}")

    def _publish(self) -> None:
        with ImagePublisher(self._pipeline.settings) as publisher:
            began = time.monotonic()
            for n in itertools.count():
                if self._stop.wait(max(0.0, began + n / self._images_per_s - time.monotonic())):
                    break
                if n % 8 == 7:  # also of ids that are deleted already, or come again later
                    publisher.delete(f"other/{(n - 5) % 3000}")
                else:
                    image_id = f"other/{n % 3000}"
                    publisher.put(mnist.png(picture(image_id)), image_id=image_id)
                self.published += 1

    def _search(self, client: int) -> None:
        for n in itertools.count(client, len(self.answered)):
            if self._stop.wait(SEARCH_PAUSE_S):
                return
            image_id = f"kept/{n * 7919 % self._kept}"
            try:
                answer = self._pipeline.client.search(mnist.png(picture(image_id)), k=4)
                self.answered[client].append((image_id, answer))
            except ApiError as error:
                self.failed.append(str(error))


@contextlib.contextmanager
def running_pipeline(settings: Settings) -> Iterator[Pipeline]:
    """The old encoder's programs on this pipeline; their logs are shown when what is done meanwhile fails."""
    ensure_topics(settings)
    pipeline = Pipeline(settings)
    try:
        pipeline.start("embedder", "indexer", "api")
        yield pipeline
    except BaseException:
        for log in sorted((settings.var_dir / "logs").glob("*.log")):
            print(f"--- {log.name}: …{log.read_text()[-1500:]}")
        raise
    finally:
        pipeline.stop()
