"""Encoders: `python -m model train`, `export` and `evaluate`."""

import argparse
import sys
from pathlib import Path

from contract.errors import ConfigurationError, LookalikeError
from contract.settings import load_settings

ENCODER = "contrast"
# The encoder that learns from a folder of photographs; the others learn from MNIST.
PHOTO = "photo"


def main() -> int:
    """Run one verb and return the exit status."""
    arguments = _parser().parse_args()
    try:
        {"train": _train, "export": _export, "evaluate": _evaluate}[arguments.verb](arguments)
    except LookalikeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        if arguments.verb == "train":
            again = f'make train ARGS="--encoder {arguments.encoder} --resume"'
            print(f"Finished epochs are kept; go on with: {again}", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m model",
        description="Train, export and evaluate encoders.",
        epilog="Example: python -m model evaluate --encoder contrast",
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    train = verbs.add_parser("train", help="train an encoder (needs TensorFlow)")
    train.add_argument("--epochs", type=_positive, help="epochs in all (default: as its recipe says)")
    train.add_argument("--resume", action="store_true", help="go on behind the last finished epoch")
    export = verbs.add_parser("export", help="write the trained encoder to model/encoders (needs TensorFlow)")
    for verb in (train, export):
        verb.add_argument("--encoder", metavar="NAME", default=ENCODER, help="which one (default %(default)s)")
        verb.add_argument("--folder", type=Path, help="where training keeps its state (default <var>/train/NAME)")
        verb.add_argument("--images", type=Path, help=f"photographs to learn from, for --encoder {PHOTO} alone")
    export.add_argument(
        "--credit",
        metavar="TEXT",
        action="append",
        help=f"whose photographs and which licence, for --encoder {PHOTO}; repeat it",
    )
    evaluate = verbs.add_parser("evaluate", help="measure encoders beside raw pixels and PCA")
    evaluate.add_argument("--encoder", metavar="NAME", help="only this one (default: all in model/encoders)")
    evaluate.add_argument("--json", action="store_true", help="print the figures as JSON")
    evaluate.add_argument("--write", action="store_true", help="put the figures and a picture in the encoder's folder")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not a number of epochs")
    return number


def _train(arguments: argparse.Namespace) -> None:
    images, folder = _images(arguments), _state_folder(arguments)
    _check_tensorflow()
    if images:
        from model.training.photo.train import EPOCHS
        from model.training.photo.train import train as train_photo

        epochs = arguments.epochs or EPOCHS
        train_photo(images, folder, epochs, resume=arguments.resume)
    else:
        from model.training.recipes import load_recipe
        from model.training.train import train

        recipe = load_recipe(arguments.encoder)
        epochs = arguments.epochs or recipe.epochs
        train(recipe, folder, epochs, resume=arguments.resume)
    options = f"--encoder {arguments.encoder}" + (f" --images {images}" if images else "")
    print(f"Trained {epochs} epochs in {folder}. Next: {sys.executable} -m model export {options}")


def _export(arguments: argparse.Namespace) -> None:
    images, folder = _images(arguments), _state_folder(arguments)
    _check_tensorflow()
    if not (folder / "history.csv").exists():
        raise ConfigurationError(
            f'There is no trained encoder in {folder}. Train one: make train ARGS="--encoder {arguments.encoder}"'
        )
    if images:
        from model.training.photo.export import export as export_photo

        export_photo(images, folder, arguments.encoder, arguments.credit or [])
    else:
        from model.training.export import export
        from model.training.recipes import load_recipe

        export(load_recipe(arguments.encoder), folder, arguments.encoder)
    print(f"Exported to model/encoders/{arguments.encoder}.")


def _evaluate(arguments: argparse.Namespace) -> None:
    from model.encoder import encoder_names, load_encoder
    from model.training.card import write_quality
    from model.training.evaluate import as_json, as_table, evaluate

    names = [arguments.encoder] if arguments.encoder else encoder_names()
    qualities = dict(evaluate(names))
    if arguments.write:
        for name in names:
            write_quality(load_encoder(name), qualities[name])
    print(as_json(qualities) if arguments.json else as_table(qualities))


def _images(arguments: argparse.Namespace) -> Path | None:
    """The folder of photographs to learn from; None for an encoder that learns from MNIST."""
    images: Path | None = arguments.images
    if (images is not None) != (arguments.encoder == PHOTO):
        raise ConfigurationError(
            f"--encoder {PHOTO} learns from photographs: name their folder with --images FOLDER."
            if images is None
            else f"--images is for --encoder {PHOTO} alone; {arguments.encoder} learns from MNIST, which is here."
        )
    if images is not None and not images.is_dir():
        raise ConfigurationError(f"--images {images} is no folder.")
    return images


def _state_folder(arguments: argparse.Namespace) -> Path:
    folder: Path = arguments.folder or load_settings().var_dir / "train" / arguments.encoder
    return folder


def _check_tensorflow() -> None:
    try:
        import tensorflow  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            "Training and export need TensorFlow, which this environment lacks. "
            "`make train` installs it in an environment of its own, .venv-train, and trains there; "
            "export with: .venv-train/bin/python -m model export"
        ) from error


if __name__ == "__main__":
    sys.exit(main())
