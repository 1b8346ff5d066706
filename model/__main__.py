"""Encoders: `python -m model train`, `export`, `evaluate` and `import`."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from contract.errors import ConfigurationError
from model.options import PHOTO, add_evaluate, add_export, add_train
from runtime.command_line import Program, Verb, run_program

if TYPE_CHECKING:
    from contract.settings import Settings

_INTERRUPTED = "\nStopped."
_IMPORT_EXAMPLE = """example, a network by torchvision's rules (mean .485 .456 .406, deviation .229 .224 .225, times 255):
  %(prog)s --name dino --onnx dino.onnx --size 224x224 --layout nchw --fit crop \\
    --mean 123.675 116.28 103.53 --scale 58.395 57.12 57.375 --credit 'Meta AI, Apache-2.0'
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one verb and return the exit status."""
    program = Program(
        prog="python -m model",
        description="Train, export, evaluate and import encoders.",
        epilog="Example: python -m model evaluate --encoder contrast",
        verbs=VERBS,
    )
    return run_program(program, arguments)


def _add_import(verb: argparse.ArgumentParser) -> None:
    from model.networks.command import add_import_arguments

    add_import_arguments(verb)


def _train(settings: "Settings", arguments: argparse.Namespace) -> int:
    images, folder = _images(arguments), _state_folder(settings, arguments)
    _check_tensorflow()
    try:
        epochs = _train_epochs(images, folder, arguments)
    except KeyboardInterrupt:
        print(
            "\nStopped.\nFinished epochs are kept; go on with: "
            f'make train ARGS="--encoder {arguments.encoder} --resume"',
            file=sys.stderr,
        )
        raise
    options = f"--encoder {arguments.encoder}" + (f" --images {images}" if images else "")
    print(f"Trained {epochs} epochs in {folder}. Next: {sys.executable} -m model export {options}")
    return 0


def _train_epochs(images: Path | None, folder: Path, arguments: argparse.Namespace) -> int:
    """Train, and return how many epochs there are."""
    epochs: int
    if images:
        from model.training.photo.train import EPOCHS, train_photos

        epochs = arguments.epochs or EPOCHS
        train_photos(images, folder, epochs, resume=arguments.resume)
    else:
        from model.training.recipes import load_recipe
        from model.training.train import train

        recipe = load_recipe(arguments.encoder)
        epochs = arguments.epochs or recipe.epochs
        train(recipe, folder, epochs, resume=arguments.resume)
    return epochs


def _export(settings: "Settings", arguments: argparse.Namespace) -> int:
    images, folder = _images(arguments), _state_folder(settings, arguments)
    _check_tensorflow()
    if not (folder / "history.csv").exists():
        raise ConfigurationError(
            f'There is no trained encoder in {folder}. Train one: make train ARGS="--encoder {arguments.encoder}"'
        )
    if images:
        from model.training.photo.export import export_photos

        export_photos(images, folder, arguments.encoder, arguments.credit or [])
    else:
        from model.training.export import export
        from model.training.recipes import load_recipe

        export(load_recipe(arguments.encoder), folder, arguments.encoder)
    print(f"Exported to model/encoders/{arguments.encoder}.")
    return 0


def _evaluate(_: "Settings", arguments: argparse.Namespace) -> int:
    if arguments.photos and arguments.verdicts:
        _evaluate_verdicts(arguments)
    elif arguments.photos:
        _evaluate_photos(arguments)
    elif arguments.distractors or arguments.picture or arguments.verdicts:
        raise ConfigurationError(
            "--distractors, --picture and --verdicts belong to photographs: name some with --photos FOLDER."
        )
    else:
        _evaluate_digits(arguments)
    return 0


def _evaluate_photos(arguments: argparse.Namespace) -> None:
    from model.encoder import encoder_names, imported_names
    from model.training.photo_evaluation.describers import PEERS
    from model.training.photo_evaluation.evaluation import evaluate_photos
    from model.training.photo_evaluation.plan import Plan

    if arguments.write:
        raise ConfigurationError("--write belongs to digits; keep what --json and --picture give for photographs.")
    plan = Plan(
        arguments.photos,
        (arguments.encoder,) if arguments.encoder else (*encoder_names(), *imported_names()),
        arguments.distractors,
        PEERS if arguments.peers is None else tuple(arguments.peers),
        arguments.sscd,
        arguments.copies,
        arguments.thorough_copies,
        arguments.seed,
        **({"processes": arguments.processes} if arguments.processes else {}),
    )
    evaluation = evaluate_photos(plan)
    print(evaluation.as_json() if arguments.json else evaluation.as_table())
    if arguments.picture:
        from model.training.photo_evaluation.picture import draw_found

        draw_found(evaluation).save(arguments.picture, "PNG")
        print(f"Drawn: {arguments.picture}", file=sys.stderr)


def _evaluate_verdicts(arguments: argparse.Namespace) -> None:
    from model.encoder import load_encoder
    from model.training.photo_verdicts.measure import as_text, measure

    encoder = load_encoder(arguments.encoder or PHOTO)
    count: int = arguments.copies
    print(as_text(measure(encoder, arguments.photos, arguments.films, count, count, arguments.seed)))


def _evaluate_digits(arguments: argparse.Namespace) -> None:
    from model.encoder import load_encoder
    from model.training.card import write_quality
    from model.training.evaluate import as_json, as_table, digit_encoder_names, evaluate

    names = digit_encoder_names()
    if arguments.encoder:
        if arguments.encoder not in names and not load_encoder(arguments.encoder).card["knows_drawings"]:
            raise ConfigurationError(
                f"{arguments.encoder} does not know digits. Measure it on photographs: --photos FOLDER, in which each class "
                "has a folder."
            )
        names = [arguments.encoder]
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


def _state_folder(settings: "Settings", arguments: argparse.Namespace) -> Path:
    folder: Path = arguments.folder or settings.var_dir / "train" / arguments.encoder
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


def _import(settings: "Settings", arguments: argparse.Namespace) -> int:
    from model.networks.command import import_encoder

    import_encoder(arguments, settings.encoders_dir)
    return 0


VERBS = (
    Verb(
        name="train",
        summary="train an encoder (needs TensorFlow)",
        run=_train,
        add_arguments=add_train,
        epilog="Example: %(prog)s --encoder contrast --resume",
    ),
    Verb(
        name="export",
        summary="write the trained encoder to model/encoders (needs TensorFlow)",
        run=_export,
        add_arguments=add_export,
        epilog="Example: %(prog)s --encoder contrast",
        interrupted=_INTERRUPTED,
    ),
    Verb(
        name="evaluate",
        summary="measure encoders: on digits, or with --photos on photographs beside perceptual hashes",
        run=_evaluate,
        add_arguments=add_evaluate,
        description="Without --photos: the encoders that know digits, on MNIST, beside raw pixels and PCA. With --photos: all "
        "encoders on photographs, beside the hashes PDQ and pHash, small colour pixels and SSCD.",
        epilog="Example: %(prog)s --photos ~/Pictures --copies 200 --picture found.png",
        interrupted=_INTERRUPTED,
    ),
    Verb(
        name="import",
        summary="make an encoder of a network from outside, an ONNX or LiteRT file",
        run=_import,
        add_arguments=_add_import,
        description="Make an encoder of a network from outside, in the folder LOOKALIKE_ENCODERS_DIR. It is tried before: embeddings of "
        "1 to 512 finite numbers, the same for the same picture and others for others, within 1 s. No code out of the file is run.",
        epilog=_IMPORT_EXAMPLE,
        interrupted=_INTERRUPTED,
    ),
)

if __name__ == "__main__":
    sys.exit(main())
