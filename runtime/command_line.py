"""What all command lines have in common: verbs with their options, how an error is told, Ctrl-C, and exit statuses.

A folder's `__main__.py` lists its verbs. `python -m <folder>` runs them, and so does `lookalike`, which gathers those of all
folders: an option is spelled once.

Exit statuses, everywhere:
    0    done
    1    failed: stderr says why, and what to do next
    2    asked wrongly
    3    nothing is running (`status`)
    130  stopped by Ctrl-C
    143  stopped by SIGTERM, where that ends the work
"""

import argparse
import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from contract.errors import LookalikeError
from runtime.planted import refuse_planted

if TYPE_CHECKING:
    from contract.settings import Settings  # pydantic, which no help needs

FAILED = 1
ASKED_WRONGLY = 2
NOT_RUNNING = 3
INTERRUPTED = 130
TERMINATED = 143

Run = Callable[["Settings", argparse.Namespace], int]
AddArguments = Callable[[argparse.ArgumentParser], object]


def _none(_: argparse.ArgumentParser) -> None:
    """No options."""


@dataclass(frozen=True, kw_only=True)
class Verb:
    """One thing to do.

    Attributes:
        run: does it with the settings and the parsed options; returns the exit status. None where only `verbs` do something.
        add_arguments: adds the options. Called only for the verb that was asked for, so it may import what others need not wait for.
        summary: one line for the list of verbs.
        description: for its own help, the summary unless given.
        epilog: examples for its own help, with ``%(prog)s`` for what runs it.
        interrupted: what Ctrl-C says.
        verbs: verbs below this one.
    """

    name: str
    summary: str
    run: Run | None = None
    add_arguments: AddArguments = _none
    description: str = ""
    epilog: str = ""
    interrupted: str = ""
    verbs: tuple["Verb", ...] = ()


@dataclass(frozen=True, kw_only=True)
class Program:
    """A command line: its name, its verbs, and what its help says.

    Attributes:
        error_prefix: what stands before an error.
        parser: the class of its parsers.
        add_arguments: adds options that need no verb.
    """

    prog: str
    description: str
    epilog: str
    verbs: tuple[Verb, ...]
    error_prefix: str = "error: "
    parser: type[argparse.ArgumentParser] = argparse.ArgumentParser
    add_arguments: AddArguments = _none


def run_program(program: Program, arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments ask for (those of the process unless given); returns the exit status."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file's name may not be valid Unicode, and must not end the report about it.
        sys.stdout.reconfigure(errors="backslashreplace")
    options = parser_of(program, words).parse_args(words)
    verb: Verb = options.chosen_verb
    assert verb.run is not None
    try:
        from contract.settings import load_settings

        refuse_planted()
        return verb.run(load_settings(), options)
    except LookalikeError as error:
        print(f"{program.error_prefix}{error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        if verb.interrupted:
            print(verb.interrupted, file=sys.stderr)
        return INTERRUPTED


def parser_of(program: Program, words: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """The parser for these words; for all words, with every option of every verb, without them."""
    parser = program.parser(
        prog=program.prog,
        description=program.description,
        epilog=program.epilog,
        formatter_class=_formatter(program.epilog),
    )
    program.add_arguments(parser)
    add_verbs(parser, program.verbs, words)
    return parser


def add_verbs(parser: argparse.ArgumentParser, verbs: Sequence[Verb], words: Sequence[str] | None = None) -> None:
    """Add verbs to a parser; only the one that the words begin with gets its options, or all without words."""
    added: Any = parser.add_subparsers(required=True, metavar="VERB")
    for verb in verbs:
        one = added.add_parser(
            verb.name,
            help=verb.summary,
            description=verb.description or verb.summary,
            epilog=verb.epilog or None,
            formatter_class=_formatter(verb.epilog),
        )
        one.set_defaults(chosen_verb=verb)
        if words is not None and verb.name not in words[:1]:
            continue
        verb.add_arguments(one)
        if verb.verbs:
            add_verbs(one, verb.verbs, None if words is None else words[1:])


def _formatter(epilog: str) -> type[argparse.HelpFormatter]:
    """Examples of several lines keep their lines."""
    return argparse.RawDescriptionHelpFormatter if "\n" in epilog else argparse.HelpFormatter
