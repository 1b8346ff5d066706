"""`python -m producers topics | mnist | folder | stdin`."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from contract.errors import ConfigurationError, LookalikeError
from contract.settings import Settings, load_settings
from producers.mnist import mnist_count, mnist_images
from producers.publish_folder import FolderOptions, publish_folder
from producers.report import Report
from producers.run import publish_all
from producers.stdin import named_images
from topics.publisher import ImagePublisher
from topics.topic import ensure_topics


def main() -> int:
    """Run one verb and return the exit status: 0 all is in Kafka, 1 something is not, 2 wrong usage, 130 Ctrl-C."""
    # A file's name may not be valid Unicode, and must not end the report about it.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    arguments = _parser().parse_args()
    try:
        return int(arguments.run(load_settings(), arguments))
    except LookalikeError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 128 + signal.SIGINT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m producers",
        description="Create the topics, and publish images to them.",
        epilog="Example: python -m producers folder ~/Pictures --state pictures.json",
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    topics = verbs.add_parser("topics", help="create the topics, or check and repair their settings; may be run again")
    topics.set_defaults(run=_topics)

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--rate", type=_at_least(float, 0.001), metavar="R", help="publish at most R images a second")
    common.add_argument(
        "--timeout-s",
        type=_at_least(float, 1),
        default=120.0,
        metavar="S",
        help="give up when Kafka has not confirmed an image after S seconds of retries (default 120)",
    )
    common.add_argument("--json", action="store_true", help="print the report as JSON")

    mnist = verbs.add_parser(
        "mnist",
        parents=[common],
        help="the MNIST digits",
        description="Publish MNIST digits. Keys count from 0, as MNIST does: mnist/train/00000 is the first, and its metadata "
        'is {"label": 5, "index": 0, "split": "train"}.',
        epilog="Example: python -m producers mnist --split test --images 100 --rate 10",
    )
    mnist.add_argument("--split", choices=["train", "test"], default="train", help="train (60,000) or test (10,000)")
    mnist.add_argument("--images", type=_at_least(int, 1), metavar="N", help="the first N digits (default: all)")
    mnist.set_defaults(run=_mnist)

    _add_folder(verbs, common)

    stdin = verbs.add_parser(
        "stdin",
        parents=[common],
        help="the files named on standard input, one a line",
        description="Publish each named file as its line arrives; the key is the name as given, without a leading ./",
        epilog="Example: find . -name '*.png' | python -m producers stdin",
    )
    stdin.set_defaults(run=_stdin)
    return parser


def _add_folder(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", common: argparse.ArgumentParser) -> None:
    folder = verbs.add_parser(
        "folder",
        parents=[common],
        help="the pictures of a folder and all below it",
        description="Publish every picture below PATH; what is none, by its first bytes, is counted and left out. The id is the path "
        "below PATH, or, where that cannot be an id, one made of it, which is told.",
        epilog="Example: python -m producers folder ~/Pictures --watch --delete",
    )
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
    folder.set_defaults(run=_folder)


def _topics(settings: Settings, _: argparse.Namespace) -> int:
    for sentence in ensure_topics(settings):
        print(sentence)
    return 0


def _mnist(settings: Settings, arguments: argparse.Namespace) -> int:
    available = mnist_count(arguments.split)
    count = min(arguments.images or available, available)
    with _open_publisher(settings, arguments) as publisher:
        report = publish_all(publisher, mnist_images(arguments.split, count), total=count, **_pace(arguments))
    return _tell(report, as_json=arguments.json)


def _folder(settings: Settings, arguments: argparse.Namespace) -> int:
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
    with _open_publisher(settings, arguments) as publisher:
        report = publish_folder(settings, publisher, options)
    return _tell(report, as_json=arguments.json)


def _stdin(settings: Settings, arguments: argparse.Namespace) -> int:
    with _open_publisher(settings, arguments) as publisher:
        report = publish_all(publisher, named_images(sys.stdin.buffer), total=None, **_pace(arguments))
    return _tell(report, as_json=arguments.json)


@contextmanager
def _open_publisher(settings: Settings, arguments: argparse.Namespace) -> Iterator[ImagePublisher]:
    publisher = ImagePublisher(settings, delivery_timeout_s=arguments.timeout_s)
    try:
        yield publisher
    finally:
        publisher.close(timeout_s=1.0)  # The run has waited for what could be confirmed.


def _pace(arguments: argparse.Namespace) -> dict[str, Any]:
    return {"title": arguments.verb, "rate_per_s": arguments.rate, "timeout_s": arguments.timeout_s}


def _tell(report: Report, *, as_json: bool) -> int:
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


if __name__ == "__main__":
    sys.exit(main())
