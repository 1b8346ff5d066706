"""What both demos have in common: the running stack, a producer that is followed until all is searchable, and the wait."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from contract.errors import DependencyError
from contract.record_key import RecordKey
from contract.settings import Settings
from gallery.store.store import Store
from lookalike_client import ApiError, Client
from stack import groups
from stack.jars import ROOT
from stack.process import last_lines
from stack.programs import environment
from stack.progress import Progress, Watcher
from topics.offsets import EndOffsets
from topics.topic import Topic

_POLL_S = 0.25


@contextmanager
def running_stack(settings: Settings) -> Iterator[Watcher]:
    """Servers and programs, started where they do not run; what was started here is stopped at the end.

    Raises:
        DependencyError: the API does not answer meanwhile; with its last lines.
    """
    # A `kill` or a closed terminal ends the demo as Ctrl-C does, also in the background: stopping what it started.
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)
    started: list[str] = []
    try:
        for group in groups.wanted(settings):
            print(f"Starting the {groups.TITLES[group]} …", flush=True)
            if groups.up(settings, group, tied=True):
                started.append(group)
            else:
                print(f"The {groups.TITLES[group]} were running already.", flush=True)
        yield Watcher(settings)
    except ApiError as error:
        log = settings.var_dir / "logs" / "api.log"
        raise DependencyError("api", f"{error} Its last lines ({log}):\n{last_lines(log)}") from error
    finally:
        # A second Ctrl-C must not leave half of it running.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for group in reversed(started):
            print(f"Stopping the {groups.TITLES[group]} …", flush=True)
            groups.down(settings, group)


def publish_and_follow(
    settings: Settings,
    api: Client,
    arguments: list[str],
    total: int,
    watcher: Watcher,
    count: Callable[[int, Path], int],
) -> None:
    """Run `python -m producers` with these arguments, and show how far its images have come until all are searchable.

    Args:
        settings: of the collection, which `api` asks about.
        total: images that it is thought to publish.
        count: from its exit status and log, how many it did.
    """
    log = settings.var_dir.resolve() / "logs" / "producer.log"
    published: Mapping[int, int] | None = None
    with closing(Topic(settings)) as topic, closing(Store.connect(settings)) as store:
        progress = Progress(total, _end_offsets(topic).offsets)
        with _producer(settings, arguments, log) as producer, closing(progress):
            while True:
                status = producer.poll()
                if status is not None and published is None:
                    progress.total = count(status, log)
                    published = _end_offsets(topic).offsets
                for message in watcher.news():
                    progress.interrupt(message)
                ends, coverage = _end_offsets(topic), api.index()["coverage"]
                searchable = {int(partition): offset for partition, offset in coverage["offsets"].items()}
                progress.show(
                    published=ends.offsets,
                    stored={
                        partition: store.feed.next_offset(
                            RecordKey(ends.log, partition, offset), fingerprint=coverage["encoder"]
                        )
                        for partition, offset in progress.stored.items()
                    },
                    searchable=searchable,
                )
                if published is not None and all(searchable.get(each, 0) >= end for each, end in published.items()):
                    return
                time.sleep(_POLL_S)


def stay(settings: Settings, collection: str, watcher: Watcher, *, ends: bool) -> None:
    """Say where the page is, and wait there for Ctrl-C, unless the demo ends by itself."""
    print(f"\nPage: {settings.api_address}/?collection={collection}", flush=True)
    if ends:
        return
    print("Choose a picture there. Ctrl-C ends the demo and stops what it started; the images stay.", flush=True)
    try:
        while True:
            for message in watcher.news():
                print(message, flush=True)
            time.sleep(_POLL_S)
    except KeyboardInterrupt:
        print()


def _end_offsets(topic: Topic) -> EndOffsets:
    found = topic.end_offsets()
    if found is None:
        raise DependencyError("kafka", f"the topic {topic.name} is gone. Run this again.")
    return found


@contextmanager
def _producer(settings: Settings, arguments: list[str], log: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """`python -m producers`, which is stopped when this is left early."""
    with log.open("wb") as output:
        producer = subprocess.Popen(
            [sys.executable, "-m", "producers", *arguments],
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
