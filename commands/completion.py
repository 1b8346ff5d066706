"""`lookalike completion bash | zsh`: what a shell needs to complete verbs, options and files."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.command_line import Verb, parser_of

if TYPE_CHECKING:
    from contract.settings import Settings

SHELLS = ("bash", "zsh")
_FOLDERS = {"FOLDER", "PATH"}


def _add_shell(completion: argparse.ArgumentParser) -> None:
    completion.add_argument("shell", choices=SHELLS, help="the shell that the script is for")


def _complete(_: "Settings", options: argparse.Namespace) -> int:
    import shtab

    from commands.__main__ import PROGRAM

    parser = parser_of(PROGRAM)
    _offer_files(parser)
    print(shtab.complete(parser, options.shell))
    return 0


def _offer_files(parser: argparse.ArgumentParser) -> None:
    """Have options that take a file or a folder completed with those that there are."""
    import shtab

    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                _offer_files(below)
        elif action.metavar in _FOLDERS:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        elif action.type is Path:
            action.complete = shtab.FILE  # type: ignore[attr-defined]


COMPLETION = Verb(
    name="completion",
    summary="print what bash or zsh needs to complete this command",
    run=_complete,
    add_arguments=_add_shell,
    description="Print a script that completes verbs, options and files. In bash: source <(lookalike completion bash). In zsh, "
    "into a folder of $fpath: lookalike completion zsh > ~/.zfunc/_lookalike",
    epilog="Example: %(prog)s bash",
)
