"""`python -m producers topics | mnist | folder | stdin`."""

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contract.errors import ConfigurationError, UnknownCollectionError
from runtime.command_line import Program, Verb, run_program

if TYPE_CHECKING:
    from contract.settings import Settings
    from producers.report import Report
    from topics.publisher import ImagePublisher

_INTERRUPTED = "Interrupted."


def main(arguments: list[str] | None = None) -> int:
    """Run one verb and return the exit status: 0 all is in Kafka, 1 something is not, 2 wrong usage, 130 Ctrl-C."""
    program = Program(
        prog="python -m producers",
        description="Create the topics, and publish images to them.",
        epilog="Example: python -m producers folder ~/Pictures --state pictures.json",
        verbs=(TOPICS, *SOURCES),
        error_prefix="",
    )
    return run_program(program, arguments)


def _add_common(source: argparse.ArgumentParser) -> None:
    source.add_argument("--rate", type=_at_least(float, 0.001), metavar="R", help="publish at most R images a second")
    source.add_argument(
        "--timeout-s",
        type=_at_least(float, 1),
        default=120.0,
        metavar="S",
        help="give up when Kafka has not confirmed an image after S seconds of retries (default 120)",
    )
    source.add_argument("--collection", default="default", metavar="NAME", help="publish to this collection's topic")
    source.add_argument("--json", action="store_true", help="print the report as JSON")


def _add_mnist(mnist: argparse.ArgumentParser) -> None:
    _add_common(mnist)
    mnist.add_argument("--split", choices=["train", "test"], default="train", help="train (60,000) or test (10,000)")
    mnist.add_argument("--images", type=_at_least(int, 1), metavar="N", help="the first N digits (default: all)")


def _add_folder(folder: argparse.ArgumentParser) -> None:
    _add_common(folder)
    folder.add_argument("path", metavar="PATH")
    folder.add_argument(
        "--state",
        type=Path,
        metavar="FILE",
        help="remember in FILE what is in Kafka, and publish only new or changed files; --delete and --watch do so by themselves",
    )
    folder.add_argument(
        "--delete",
        action="store_true",
        help="delete from the gallery what this folder was published with and holds no more; never while it cannot be read",
    )
    folder.add_argument(
        "--watch",
        action="store_true",
        help="go on with what arrives and changes, and with --delete what leaves, until Ctrl-C",
    )
    folder.add_argument(
        "--follow-links", action="store_true", help="also read folders, and files outside, that links lead to"
    )
    folder.add_argument("--verbose", action="store_true", help="name everything that is left out")


def _add_topics(topics: argparse.ArgumentParser) -> None:
    topics.add_argument("--collection", default="default", metavar="NAME", help="those of this collection")


def _topics(settings: "Settings", arguments: argparse.Namespace) -> int:
    from contract.collections import DEFAULT_COLLECTION
    from topics.removal import missing_topics
    from topics.topic import ensure_topics

    name = arguments.collection
    own = _chosen(settings, arguments)
    # How many partitions the topic of another collection gets is decided where the collection is created.
    if name != DEFAULT_COLLECTION and own.kafka_topic in missing_topics(own):
        raise UnknownCollectionError(
            f"There is no topic {own.kafka_topic}. Create the collection, and its topics with it: lookalike collections create "
            f"{name} --encoder ENCODER"
        )
    for sentence in ensure_topics(own):
        print(sentence)
    return 0


def _mnist(settings: "Settings", arguments: argparse.Namespace) -> int:
    from producers.mnist import mnist_count, mnist_images
    from producers.run import publish_all

    available = mnist_count(arguments.split)
    count = min(arguments.images or available, available)
    with _open_publisher(_chosen(settings, arguments), arguments) as publisher:
        images = mnist_images(arguments.split, count)
        report = publish_all(publisher, images, total=count, title="mnist", **_pace(arguments))
    return _tell(report, as_json=arguments.json)


def _folder(settings: "Settings", arguments: argparse.Namespace) -> int:
    from producers.publish_folder import FolderOptions, publish_folder

    path = os.path.expanduser(arguments.path)
    if not os.path.isdir(path):
        raise ConfigurationError(f"{path!r} is not a folder. To publish single files: python -m producers stdin")
    options = FolderOptions(
        path=path,
        state=arguments.state,
        follow_links=arguments.follow_links,
        delete=arguments.delete,
        watch=arguments.watch,
        verbose=arguments.verbose,
        rate_per_s=arguments.rate,
        timeout_s=arguments.timeout_s,
    )
    settings = _chosen(settings, arguments)
    with _open_publisher(settings, arguments) as publisher:
        report = publish_folder(settings, publisher, options)
    return _tell(report, as_json=arguments.json)


def _stdin(settings: "Settings", arguments: argparse.Namespace) -> int:
    from producers.run import publish_all
    from producers.stdin import named_images

    with _open_publisher(_chosen(settings, arguments), arguments) as publisher:
        images = named_images(sys.stdin.buffer)
        report = publish_all(publisher, images, total=None, title="stdin", **_pace(arguments))
    return _tell(report, as_json=arguments.json)


def _chosen(settings: "Settings", arguments: argparse.Namespace) -> "Settings":
    from contract.collections import publishing_settings

    return publishing_settings(settings, arguments.collection)


@contextmanager
def _open_publisher(settings: "Settings", arguments: argparse.Namespace) -> "Iterator[ImagePublisher]":
    from runtime.tracing import TRACING
    from topics.publisher import ImagePublisher

    TRACING.start(settings, "lookalike-publish")
    publisher = ImagePublisher(settings, delivery_timeout_s=arguments.timeout_s)
    try:
        yield publisher
    finally:
        publisher.close(timeout_s=1.0)  # The run has waited for what could be confirmed.


def _pace(arguments: argparse.Namespace) -> dict[str, Any]:
    return {"rate_per_s": arguments.rate, "timeout_s": arguments.timeout_s}


def _tell(report: "Report", *, as_json: bool) -> int:
    """Print what went wrong to stderr and the outcome to stdout, and return the exit status."""
    for line in report.complaints():
        print(line, file=sys.stderr)
    print(report.as_json() if as_json else report.as_text())
    return report.exit_status


def _at_least(kind: Callable[[str], float], least: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        number = kind(text)
        if not least <= number < float("inf"):
            raise argparse.ArgumentTypeError(f"{text} is not a number of at least {least}")
        return number

    parse.__name__ = "number"
    return parse


TOPICS = Verb(
    name="topics",
    summary="create the topics, or check and repair their settings; may be run again",
    run=_topics,
    add_arguments=_add_topics,
    interrupted=_INTERRUPTED,
)
SOURCES = (
    Verb(
        name="mnist",
        summary="the MNIST digits",
        run=_mnist,
        add_arguments=_add_mnist,
        description="Publish MNIST digits. Keys count from 0, as MNIST does: mnist/train/00000 is the first, and its metadata "
        'is {"label": 5, "index": 0, "split": "train"}.',
        epilog="Example: %(prog)s --split test --images 100 --rate 10",
        interrupted=_INTERRUPTED,
    ),
    Verb(
        name="folder",
        summary="the pictures of a folder and all below it",
        run=_folder,
        add_arguments=_add_folder,
        description="Publish every picture below PATH; what is none, by its first bytes, is counted and left out. The id is the path "
        "below PATH, or, where that cannot be an id, one made of it, which is told.",
        epilog="Example: %(prog)s ~/Pictures --watch --delete",
        interrupted=_INTERRUPTED,
    ),
    Verb(
        name="stdin",
        summary="the files named on standard input, one a line",
        run=_stdin,
        add_arguments=_add_common,
        description="Publish each named file as its line arrives; the key is the name as given, without a leading ./",
        epilog="Example: find . -name '*.png' | %(prog)s",
        interrupted=_INTERRUPTED,
    ),
)

if __name__ == "__main__":
    sys.exit(main())
