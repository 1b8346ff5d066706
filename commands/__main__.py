"""`lookalike VERB`: one command for all that the folders' command lines do; the verbs and their options are theirs."""

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

import api.__main__
import bench.__main__
import gallery.__main__
import model.__main__
import producers.__main__
import stack.__main__
import workers.__main__
from commands.completion import COMPLETION
from contract.version import VERSION
from runtime.command_line import ASKED_WRONGLY, Program, Verb, run_program

_ROOT = Path(__file__).parents[1]
_EXAMPLES = """examples:
  lookalike demo --folder ~/Pictures
  lookalike up && lookalike status
  lookalike publish folder ~/Pictures --watch --delete
  lookalike search photo.jpg --k 3
  source <(lookalike completion bash)

exit statuses: 0 done, 1 failed, 2 asked wrongly, 3 nothing is running, 130 stopped by Ctrl-C, 143 by SIGTERM
"""


class Parser(argparse.ArgumentParser):
    """Tells what was asked wrongly as every other error is told."""

    def error(self, message: str) -> NoReturn:
        """End with the status of a wrong question."""
        self.exit(ASKED_WRONGLY, f"error: {message}. See: {self.prog} --help\n")


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; returns the exit status, as `runtime.command_line` lists them."""
    if Path.cwd() != _ROOT:
        # Run from anywhere it means this checkout's servers, data and index.
        os.environ.setdefault("LOOKALIKE_VAR_DIR", str(_ROOT / "var"))
    return run_program(PROGRAM, arguments)


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(f"lookalike {VERSION}")
        parser.exit()


def _add_version(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version")


def _named(verbs: Iterable[Verb], *names: str) -> tuple[Verb, ...]:
    by_name = {verb.name: verb for verb in verbs}
    return tuple(by_name[name] for name in names)


_PUBLISH = Verb(
    name="publish",
    summary="publish MNIST digits, a folder of pictures, or files named on standard input",
    epilog="Example: %(prog)s folder ~/Pictures",
    verbs=producers.__main__.SOURCES,
)
_BENCH = Verb(
    name="bench",
    summary="measure the running stack, or searches beside other libraries",
    epilog="Example: %(prog)s road --images 5000 --rate 100 --json",
    verbs=bench.__main__.VERBS,
)
PROGRAM = Program(
    prog="lookalike",
    description="Live reverse image search: images that are published to a Kafka topic are found through HTTP a moment later.",
    epilog=_EXAMPLES,
    verbs=(
        *_named(stack.__main__.VERBS, "up", "down", "status", "logs", "demo"),
        producers.__main__.TOPICS,
        _PUBLISH,
        *_named(api.__main__.VERBS, "search", "watches", "serve", "keys"),
        *_named(gallery.__main__.VERBS, "collections", "watch", "stats", "promote", "rollback", "backup", "restore"),
        *workers.__main__.VERBS,
        *model.__main__.VERBS,
        *_named(bench.__main__.VERBS, "capacity"),
        _BENCH,
        *_named(stack.__main__.VERBS, "fetch", "wipe"),
        COMPLETION,
    ),
    parser=Parser,
    add_arguments=_add_version,
)

if __name__ == "__main__":
    sys.exit(main())
