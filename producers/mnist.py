"""The MNIST digits as PNG images."""

from collections.abc import Iterator

from model import mnist
from producers.outgoing import Outgoing


def mnist_count(split: mnist.Split) -> int:
    """Digits in a split: 60,000 to train, 10,000 to test."""
    return len(mnist.labels(split))


def mnist_images(split: mnist.Split, count: int) -> Iterator[Outgoing]:
    """The first `count` digits of a split, counted from 0 as in MNIST's own files: `mnist/train/00000` is the first."""
    labels = mnist.labels(split)
    for index, pixels in enumerate(mnist.images(split)[:count]):
        name = f"mnist/{split}/{index:05d}"
        metadata: dict[str, object] = {"label": int(labels[index]), "index": index, "split": split}
        yield Outgoing(name, name, mnist.png(pixels), metadata)
