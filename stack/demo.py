"""The whole road in one command: MNIST digits are published, become searchable, and are found."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from contract.errors import ConfigurationError, DependencyError
from contract.settings import Settings
from gallery.store import Store
from model import mnist
from stack import groups
from stack.child import last_lines
from stack.jars import ROOT
from stack.programs import api_address, environment
from stack.progress import Progress, Watcher

QUERIES = 5
NEIGHBOURS = 10
_POLL_S = 0.25
_REQUEST_S = 30.0


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
    # A `kill` or a closed terminal ends the demo as Ctrl-C does: stopping what it started.
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)
    with _stack(settings):
        watcher = Watcher(settings)
        _publish(settings, images, watcher)
        for number in range(QUERIES):
            _search(settings, number)
        print(f"\nPage: {api_address(settings)}/", flush=True)
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
        for group in groups.GROUPS:
            print(f"Starting the {group} …", flush=True)
            if groups.up(settings, group, tied=True):
                started.append(group)
            else:
                print(f"The {group} were running already.", flush=True)
        yield
    finally:
        # A second Ctrl-C must not leave half of it running.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for group in reversed(started):
            print(f"Stopping the {group} …", flush=True)
            groups.down(settings, group)


def _publish(settings: Settings, images: int, watcher: Watcher) -> None:
    """Run the producer, and show how far its images have come until all are searchable."""
    before = _ask(settings, "/v1/index")["coverage"]
    if before["end_offsets"] is None:
        raise DependencyError("kafka", f"the API cannot reach it. Is it running? See {settings.var_dir / 'logs'}.")
    log = settings.var_dir.resolve() / "logs" / "producer.log"
    with log.open("wb") as output:
        producer = subprocess.Popen(
            [sys.executable, "-m", "producers", "mnist", "--images", str(images)],
            cwd=ROOT,
            env={**os.environ, **environment(settings)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    store = Store.connect(settings)
    progress = Progress(images, before["end_offsets"])
    try:
        while not progress.is_complete:
            if producer.poll():
                raise DependencyError("kafka", f"the producer failed. Its last lines ({log}):\n{last_lines(log)}")
            for message in watcher.news():
                progress.interrupt(message)
            coverage = _ask(settings, "/v1/index")["coverage"]
            progress.show(
                published=coverage["end_offsets"] or {},
                stored={
                    partition: store.next_feed_offset(coverage["log"], coverage["encoder"], int(partition), offset)
                    for partition, offset in progress.stored.items()
                },
                searchable=coverage["offsets"],
            )
            time.sleep(_POLL_S)
        producer.wait()
    except BaseException:
        producer.terminate()
        producer.wait()
        raise
    finally:
        progress.close()
        store.close()


def _search(settings: Settings, number: int) -> None:
    """Search one test image and print its neighbours; test images are never published."""
    image, label = mnist.images("test")[number], int(mnist.labels("test")[number])
    answer = _ask(settings, f"/v1/search?k={NEIGHBOURS}", mnist.png(image))
    matches = [
        (match["id"], match["distance"], (match["metadata"] or {}).get("label", "?")) for match in answer["matches"]
    ]
    same = sum(found == label for _, _, found in matches)
    print(f"\nTest image {number + 1} shows a {label}; so do {same} of its {len(matches)} nearest neighbours:")
    print(f"   {'distance':>8}  label  image")
    for image_id, distance, found in matches:
        print(f"   {distance:8.4f}  {found:>5}  {image_id}")


def _stay(watcher: Watcher) -> None:
    try:
        while True:
            for message in watcher.news():
                print(message, flush=True)
            time.sleep(_POLL_S)
    except KeyboardInterrupt:
        print()


def _ask(settings: Settings, path: str, image: bytes | None = None) -> dict[str, Any]:
    """The JSON answer to GET, or to POST with `image` (PNG) as its body.

    Raises:
        DependencyError: the API did not answer, or answered with a problem.
    """
    request = urllib.request.Request(api_address(settings) + path, data=image, headers={"Content-Type": "image/png"})
    try:
        with urllib.request.urlopen(request, timeout=_REQUEST_S) as answer:
            body: dict[str, Any] = json.load(answer)
            return body
    except urllib.error.HTTPError as error:
        detail = error.read(2000).decode(errors="replace")
        raise DependencyError("api", f"{path} answered {error.code}: {detail}") from error
    except (urllib.error.URLError, OSError) as error:
        raise DependencyError(
            "api", f"{path} did not answer ({error}). See {settings.var_dir / 'logs' / 'api.log'}."
        ) from error
