"""`python -m api serve` answers searches; `search FILE` asks one; `openapi` prints what can be asked."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from api.filter_option import parsed_filter
from api.keys_command import KEYS_VERB
from api.watches_command import WATCHES_VERB
from contract.errors import LookalikeError
from contract.formats import FORMATS
from runtime.command_line import Program, Verb, run_program

if TYPE_CHECKING:
    from contract.settings import Settings

EXAMPLES = """examples:
  python -m api serve --processes 4
  python -m api search digit.png
  python -m api search altered.png --explain
  python -m api search part-of-a-photo.jpg --effort thorough
  python -m api search digit.png --k 3 --json | jq .matches[0].id
"""
_SEARCHES = """examples:
  %(prog)s digit.png
  %(prog)s altered.png --explain
  %(prog)s part-of-a-photo.jpg --effort thorough
  %(prog)s digit.png --as-of 2026-01-31T12:00:00Z
  %(prog)s digit.png --k 3 --json | jq .matches[0].id
  %(prog)s digit.png --filter '{"must": [{"key": "label", "match": {"value": 7}}]}'
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; returns the exit status: 0 done, 1 failed, 2 asked wrongly."""
    program = Program(prog="python -m api", description=__doc__ or "", epilog=EXAMPLES, verbs=VERBS, error_prefix="")
    return run_program(program, arguments)


def _add_serve(serve: argparse.ArgumentParser) -> None:
    serve.add_argument(
        "--processes", type=_process_count, help="processes that share the port (LOOKALIKE_API_PROCESSES)"
    )


def _process_count(text: str) -> int:
    from contract.settings import API_PROCESSES_MAX  # brings pydantic, which help does not need

    if not text.isdecimal() or not 1 <= int(text) <= API_PROCESSES_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {API_PROCESSES_MAX}")
    return int(text)


def _add_search(search: argparse.ArgumentParser) -> None:
    from lookalike_client import Effort, Sort

    query = search.add_mutually_exclusive_group(required=True)
    query.add_argument("file", type=Path, nargs="?", help=f"a {FORMATS} image")
    query.add_argument(
        "--address", metavar="URL", help="search with the picture at this address, which the API fetches"
    )
    search.add_argument("--k", type=int, default=10, help="how many neighbours, 1 to 1000 (default 10)")
    search.add_argument("--filter", help="only images whose metadata match: JSON in Qdrant's form")
    search.add_argument("--offset", type=int, default=0, help="leave so many of the nearest out: the next page")
    search.add_argument("--explain", action="store_true", help="say of each whether it is a copy and what was altered")
    search.add_argument("--sort", choices=get_args(Sort), help="the order of the neighbours (default best)")
    search.add_argument(
        "--effort",
        choices=get_args(Effort),
        default="normal",
        help="high: more candidates, with the engine cassandra; thorough: also turned, mirrored, negative, and parts of it",
    )
    search.add_argument("--collection", default="default", metavar="NAME", help="search in this collection")
    search.add_argument(
        "--as-of",
        metavar="WHEN",
        help="search what was there at an earlier time: 2026-01-31T12:00:00Z, or offsets such as 0:1240,1:1198",
    )
    search.add_argument("--json", action="store_true", help="print the API's whole answer as JSON")
    search.add_argument("--url", help="the API's address (default: from LOOKALIKE_API_HOST and _PORT)")


def _serve(settings: "Settings", arguments: argparse.Namespace) -> int:
    from api.server import serve  # brings NumPy, scikit-learn and the drivers, which a search does not need

    return serve(settings, arguments.processes or settings.api_processes)


def _openapi(settings: "Settings", _: argparse.Namespace) -> int:
    from api.app import create_app

    print(json.dumps(create_app(settings).openapi(), indent=1))
    return 0


def _search(settings: "Settings", arguments: argparse.Namespace) -> int:
    from lookalike_client import ApiError, Client
    from lookalike_client.table import neighbours_table

    client = Client(arguments.url or settings.api_address, collection=arguments.collection)
    wanted = {name: getattr(arguments, name) for name in ("k", "offset", "as_of", "explain", "sort", "effort")}
    wanted["filter"] = parsed_filter(arguments.filter)
    try:
        if arguments.address is not None:
            answer = client.search_address(arguments.address, **wanted)
        else:
            answer = client.search_file(arguments.file, **wanted)
    except OSError as error:
        raise LookalikeError(f"{arguments.file} cannot be read: {error.strerror}.") from error
    except ApiError as error:
        raise LookalikeError(str(error)) from error
    print(json.dumps(answer.raw, ensure_ascii=False) if arguments.json else neighbours_table(answer))
    return 0


VERBS = (
    Verb(
        name="serve",
        summary="answer searches over HTTP until Ctrl-C",
        run=_serve,
        add_arguments=_add_serve,
        epilog="Example: %(prog)s --processes 4",
    ),
    Verb(
        name="search",
        summary="print the neighbours of an image",
        run=_search,
        add_arguments=_add_search,
        epilog=_SEARCHES,
    ),
    WATCHES_VERB,
    KEYS_VERB,
    Verb(name="openapi", summary="print the OpenAPI document", run=_openapi),
)

if __name__ == "__main__":
    sys.exit(main())
