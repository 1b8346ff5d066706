"""The demo with digits: MNIST digits are published into a collection of their own, become searchable, and are found."""

from pathlib import Path

from contract.errors import ConfigurationError, DependencyError
from contract.settings import DIGITS_ENCODER, Settings
from lookalike_client import Client
from lookalike_client.table import neighbours_table
from model import mnist
from stack.demo_collections import demo_collection
from stack.demo_steps import publish_and_follow, running_stack, stay
from stack.process import last_lines
from stack.progress import Watcher

DIGITS = "digits"
_QUERIES = 5
_NEIGHBOURS = 10


def demo(settings: Settings, images: int, ends: bool) -> int:
    """Publish `images` training images into the collection `digits`, search five test images, and stay until Ctrl-C unless `ends`.

    Returns:
        The exit status: 0 when the searches were shown, 130 after a Ctrl-C before that.

    Raises:
        ConfigurationError, StartError, DependencyError: what went wrong and what to do.
    """
    check_count(images)
    with running_stack(settings) as watcher:
        show_digits(settings, images, watcher)
        stay(settings, DIGITS, watcher, ends=ends)
    return 0


def check_count(images: int) -> None:
    """Refuse a number of digits that there is not.

    Raises:
        ConfigurationError: with the numbers that there are.
    """
    if not 1 <= images <= len(mnist.labels("train")):
        raise ConfigurationError(
            f"IMAGES={images}: choose 1 to {len(mnist.labels('train'))} of MNIST's training images."
        )


def show_digits(settings: Settings, images: int, watcher: Watcher) -> None:
    """Publish digits, follow them until they are searchable, and search five that were not published."""

    def count(status: int, log: Path) -> int:
        if status:
            raise DependencyError("kafka", f"the producer failed. Its last lines ({log}):\n{last_lines(log)}")
        return images

    own = demo_collection(settings, DIGITS, DIGITS_ENCODER)
    api = Client(settings.api_address, collection=DIGITS)
    publish_and_follow(own, api, ["mnist", "--images", str(images)], images, watcher, count)
    for number in range(_QUERIES):
        _search(api, number)


def _search(api: Client, number: int) -> None:
    """Search one test image and print its neighbours; test images are never published."""
    image, label = mnist.images("test")[number], int(mnist.labels("test")[number])
    answer = api.search(mnist.png(image), k=_NEIGHBOURS)
    same = sum((match.metadata or {}).get("label") == label for match in answer.matches)
    print(f"\nTest image {number + 1} shows a {label}; so do {same} of its {len(answer.matches)} nearest neighbours:")
    print(neighbours_table(answer), flush=True)
