"""The demo with digits: MNIST digits are published, become searchable, and are found."""

from pathlib import Path

from contract.errors import ConfigurationError, DependencyError
from contract.settings import Settings, for_digits
from lookalike_client import Client
from lookalike_client.table import neighbours_table
from model import mnist
from model.encoder import load_encoder
from stack.demo_steps import publish_and_follow, running_stack, stay
from stack.process import last_lines

_QUERIES = 5
_NEIGHBOURS = 10


def demo(settings: Settings, images: int, ends: bool) -> int:
    """Publish `images` training images, search five test images, and stay until Ctrl-C unless `ends`.

    The encoder is the one that knows digits, unless the settings name one on purpose.

    Returns:
        The exit status: 0 when the searches were shown, 130 after a Ctrl-C before that.

    Raises:
        ConfigurationError, StartError, DependencyError: what went wrong and what to do.
    """
    if not 1 <= images <= len(mnist.labels("train")):
        raise ConfigurationError(
            f"IMAGES={images}: choose 1 to {len(mnist.labels('train'))} of MNIST's training images."
        )
    settings = for_digits(settings)

    def count(status: int, log: Path) -> int:
        if status:
            raise DependencyError("kafka", f"the producer failed. Its last lines ({log}):\n{last_lines(log)}")
        return images

    with running_stack(settings, settings) as watcher:
        _check_encoder(settings)
        publish_and_follow(settings, ["mnist", "--images", str(images)], images, watcher, count)
        for number in range(_QUERIES):
            _search(Client(settings.api_address), number)
        stay(settings, watcher, ends=ends)
    return 0


def _check_encoder(settings: Settings) -> None:
    """A stack that ran before may search with an encoder to which all digits look alike."""
    serving = Client(settings.api_address).index()["indexes"][0]["name"]
    if not load_encoder(serving, settings.encoders_dir).card["knows_drawings"]:
        raise ConfigurationError(
            f"The stack that runs already searches with the encoder {serving}, which does not tell digits apart. End it with "
            "`make down` and run this again, or show photographs to it: make demo FOLDER=~/Pictures."
        )


def _search(api: Client, number: int) -> None:
    """Search one test image and print its neighbours; test images are never published."""
    image, label = mnist.images("test")[number], int(mnist.labels("test")[number])
    answer = api.search(mnist.png(image), k=_NEIGHBOURS)
    same = sum((match.metadata or {}).get("label") == label for match in answer.matches)
    print(f"\nTest image {number + 1} shows a {label}; so do {same} of its {len(answer.matches)} nearest neighbours:")
    print(neighbours_table(answer), flush=True)
