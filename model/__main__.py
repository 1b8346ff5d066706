"""Encoders: `python -m model train` and `python -m model export`."""

import argparse
import sys
from pathlib import Path

from contract.errors import ConfigurationError, LookalikeError
from contract.settings import load_settings

NAME = "report-autoencoder"


def main() -> int:
    """Run one verb and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m model", description="Train and export encoders.", epilog="Example: python -m model train"
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    train_parser = verbs.add_parser("train", help="train the autoencoder; goes on where an earlier run ended")
    train_parser.add_argument("--epochs", type=int, default=100, help="epochs in all (default %(default)s)")
    export_parser = verbs.add_parser("export", help="write the trained encoder to its folder in model/encoders")
    for verb in (train_parser, export_parser):
        verb.add_argument("--folder", type=Path, help="checkpoint folder (default <var>/train/report-autoencoder)")
    arguments = parser.parse_args()
    try:
        folder = arguments.folder or load_settings().var_dir / "train" / NAME
        _check_tensorflow()
        if arguments.verb == "train":
            from model.train import train

            train(folder, arguments.epochs)
            print(f"Trained {arguments.epochs} epochs in {folder}. Next: python -m model export")
        else:
            if not (folder / "autoencoder.keras").exists():
                raise LookalikeError(f"There is no trained autoencoder in {folder}: run `python -m model train` first.")
            from model.export import export

            export(folder, NAME)
            print(f"Exported to model/encoders/{NAME}.")
    except LookalikeError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped; finished epochs are kept, run the same command to go on.", file=sys.stderr)
        return 130
    return 0


def _check_tensorflow() -> None:
    try:
        import tensorflow  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            "Training and export need TensorFlow, which this environment lacks: run `make train`, which brings it."
        ) from error


if __name__ == "__main__":
    sys.exit(main())
