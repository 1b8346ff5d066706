"""The whole road in one command: MNIST digits are published, become searchable, and are found."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from api.client import ApiError, Client
from api.ends import Ends, read_ends
from api.table import neighbours_table
from contract.clients import open_admin
from contract.errors import ConfigurationError, DependencyError
from contract.settings import Settings
from gallery.store import Store
from model import mnist
from stack import groups
from stack.child import last_lines
from stack.jars import ROOT
from stack.programs import environment
from stack.progress import Progress, Watcher

QUERIES = 5
NEIGHBOURS = 10
_POLL_S = 0.25


def demo(settings: Settings, images: int, ends: bool) -> int:
    """Publish `images` training images, search five test images, and stay until Ctrl-C unless `ends`.

    Returns:
        The exit status: 0 when the searches were shown, 130 after a Ctrl-C before that.

    Raises:
        ConfigurationError, StartError, DependencyError: what went wrong and what to do.
    """
    if not 1 <= images <= len(mnist.labels("train")):
        raise ConfigurationError(
            f"IMAGES={images}: choose 1 to {len(mnist.labels('train'))} of MNIST's training images."
        )
    # A `kill` or a closed terminal ends the demo as Ctrl-C does, also in the background: stopping what it started.
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)
    with _stack(settings):
        watcher, api = Watcher(settings), Client(settings.api_address)
        try:
            _publish(settings, images, watcher, api)
            for number in range(QUERIES):
                _search(api, number)
        except ApiError as error:
            log = settings.var_dir / "logs" / "api.log"
            raise DependencyError("api", f"{error} Its last lines ({log}):\n{last_lines(log)}") from error
        print(f"\nPage: {settings.api_address}/", flush=True)
        if not ends:
            print(
                "Choose a picture there. Ctrl-C ends the demo and stops what it started; the images stay.", flush=True
            )
            _stay(watcher)
    return 0


@contextmanager
def _stack(settings: Settings) -> Iterator[None]:
    """Both groups, started where they do not run; what was started here is stopped at the end."""
    started = []
    try:
        for group in groups.wanted(settings):
            print(f"Starting the {groups.TITLES[group]} …", flush=True)
            if groups.up(settings, group, tied=True):
                started.append(group)
            else:
                print(f"The {groups.TITLES[group]} were running already.", flush=True)
        yield
    finally:
        # A second Ctrl-C must not leave half of it running.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for group in reversed(started):
            print(f"Stopping the {groups.TITLES[group]} …", flush=True)
            groups.down(settings, group)


def _publish(settings: Settings, images: int, watcher: Watcher, api: Client) -> None:
    """Run the producer, and show how far its images have come until all are searchable."""
    log = settings.var_dir.resolve() / "logs" / "producer.log"
    with _road_ends(settings) as read_end_offsets, closing(Store.connect(settings)) as store:
        progress = Progress(images, read_end_offsets().offsets)
        with _producer(settings, images, log) as producer, closing(progress):
            while not progress.is_complete:
                if producer.poll():
                    raise DependencyError("kafka", f"the producer failed. Its last lines ({log}):\n{last_lines(log)}")
                for message in watcher.news():
                    progress.interrupt(message)
                ends, coverage = read_end_offsets(), api.index()["coverage"]
                progress.show(
                    published=ends.offsets,
                    stored={
                        partition: store.next_feed_offset(ends.log, coverage["encoder"], partition, offset)
                        for partition, offset in progress.stored.items()
                    },
                    searchable={int(partition): offset for partition, offset in coverage["offsets"].items()},
                )
                time.sleep(_POLL_S)


@contextmanager
def _road_ends(settings: Settings) -> Iterator[Callable[[], Ends]]:
    """A function that asks Kafka where the topic's partitions end."""
    with closing(open_admin(settings)) as admin:

        def ends() -> Ends:
            found = read_ends(admin, settings.kafka_topic)
            if found is None:
                raise DependencyError("kafka", f"the topic {settings.kafka_topic} is gone. Run this again.")
            return found

        yield ends


@contextmanager
def _producer(settings: Settings, images: int, log: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """`python -m producers mnist`, which is stopped when this is left early."""
    with log.open("wb") as output:
        producer = subprocess.Popen(
            [sys.executable, "-m", "producers", "mnist", "--images", str(images)],
            cwd=ROOT,
            env={**os.environ, **environment(settings)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield producer
    except BaseException:
        producer.terminate()
        raise
    finally:
        producer.wait()


def _search(api: Client, number: int) -> None:
    """Search one test image and print its neighbours; test images are never published."""
    image, label = mnist.images("test")[number], int(mnist.labels("test")[number])
    answer = api.search(mnist.png(image), k=NEIGHBOURS)
    same = sum((match.metadata or {}).get("label") == label for match in answer.matches)
    print(f"\nTest image {number + 1} shows a {label}; so do {same} of its {len(answer.matches)} nearest neighbours:")
    print(neighbours_table(answer), flush=True)


def _stay(watcher: Watcher) -> None:
    try:
        while True:
            for message in watcher.news():
                print(message, flush=True)
            time.sleep(_POLL_S)
    except KeyboardInterrupt:
        print()
