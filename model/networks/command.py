"""`python -m model import`: its options, and what it says."""

import argparse
import re
import sys
from pathlib import Path

from model.networks.steps import CHANNELS, DTYPES, FITS, LAYOUTS, RESAMPLINGS, Steps

# A query with `effort=thorough` embeds 23 more pictures within one picture's 4 s.
_THOROUGH_MS_MAX = 150


def add_import_arguments(verb: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    verb.add_argument("--name", required=True, help="of the encoder: a-z, 0-9 and -, beginning with a letter")
    network = verb.add_mutually_exclusive_group(required=True)
    network.add_argument("--onnx", type=Path, metavar="FILE", help="the network, for ONNX Runtime (make onnx)")
    network.add_argument("--tflite", type=Path, metavar="FILE", help="the network, for LiteRT")
    verb.add_argument("--size", type=_size, required=True, metavar="WxH", help="pixels that it looks at: 224x224")
    verb.add_argument(
        "--layout", choices=LAYOUTS, required=True, help="order of picture, rows, columns and channels in its input"
    )
    verb.add_argument(
        "--fit",
        choices=FITS,
        default="squeeze",
        help="how a picture of other proportions comes to that size: all of it squeezed (the default), its middle, or all of it with "
        "room beside it that is filled with the mean",
    )
    verb.add_argument("--channels", choices=CHANNELS, default="rgb", help="and their order (default %(default)s)")
    verb.add_argument("--resampling", choices=RESAMPLINGS, default="bilinear", help="default %(default)s")
    verb.add_argument(
        "--mean",
        type=float,
        nargs="+",
        default=[0.0],
        metavar="X",
        help="of each channel, or of all: values from 0 to 255 …",
    )
    verb.add_argument(
        "--scale", type=float, nargs="+", default=[1.0], metavar="X", help="… become (value - mean) / scale"
    )
    verb.add_argument(
        "--dtype", choices=DTYPES, default="", help="of its input, to be checked (default: as the network says)"
    )
    verb.add_argument("--output", default="", metavar="NAME", help="which one, where there are several")
    verb.add_argument(
        "--unnormalised",
        action="store_true",
        help="keep embeddings as they are; by default each is divided by its length",
    )
    verb.add_argument(
        "--credit", action="append", default=[], metavar="TEXT", help="whose network and which licence; repeat it"
    )


def import_encoder(arguments: argparse.Namespace, encoders_dir: Path) -> None:
    """Run the verb.

    Raises:
        ConfigurationError: the network cannot be used.
    """
    from model.networks.importing import NetworkSource, import_network

    kind = ".onnx" if arguments.onnx else ".tflite"
    width, height = arguments.size
    steps = Steps(
        width,
        height,
        arguments.layout,
        arguments.fit,
        arguments.channels,
        arguments.resampling,
        tuple(arguments.mean),
        tuple(arguments.scale),
        arguments.dtype,
        arguments.output,
        not arguments.unnormalised,
    )
    source = NetworkSource(arguments.name, arguments.onnx or arguments.tflite, kind, steps, tuple(arguments.credit))
    print(f"Trying {source.network} …", file=sys.stderr)
    encoder = import_network(source, encoders_dir)
    ms = encoder.card["imported"]["ms_a_picture"]
    print(
        f"Imported to {encoder.folder}: {encoder.dimensions} numbers, {ms:g} ms a picture, fingerprint {encoder.fingerprint}."
    )
    if ms > _THOROUGH_MS_MAX:
        print(
            f"Searches with effort=thorough will time out: they embed 24 pictures, in at most {_THOROUGH_MS_MAX} ms each."
        )
    print(f"Measure it: python -m model evaluate --encoder {encoder.name} --photos FOLDER")
    print(
        f"Use it: LOOKALIKE_ENCODER={encoder.name} make up. Beside what runs: LOOKALIKE_NEXT_ENCODER={encoder.name} make up"
    )
    if not source.credits:
        print(
            "Its card names nobody. Say whose it is with --credit TEXT when you import it for others.", file=sys.stderr
        )


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,5})[x×](\d{1,5})", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not width x height, such as 224x224")
    return int(found[1]), int(found[2])
