"""`python -m api serve` answers searches; `search FILE` asks one; `openapi` prints what can be asked."""

import argparse
import json
import sys
from pathlib import Path
from typing import get_args

from api.client import ApiError, Client, Effort, Sort
from contract.errors import LookalikeError
from contract.formats import FORMATS
from contract.settings import Settings, load_settings

EXAMPLES = """examples:
  python -m api serve --processes 4
  python -m api search digit.png
  python -m api search altered.png --explain
  python -m api search part-of-a-photo.jpg --effort thorough
  python -m api search digit.png --k 3 --json | jq .matches[0].id
"""


def main() -> int:
    """Run one verb; returns the exit status: 0 done, 1 failed, 2 asked wrongly."""
    parser = argparse.ArgumentParser(
        prog="python -m api", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    serve = verbs.add_parser("serve", help="answer searches over HTTP until Ctrl-C")
    serve.add_argument("--processes", type=int, help="processes that share the port (LOOKALIKE_API_PROCESSES)")
    search = verbs.add_parser("search", help="print the neighbours of an image")
    search.add_argument("file", type=Path, help=f"a {FORMATS} image")
    search.add_argument("--k", type=int, default=10, help="how many neighbours, 1 to 100 (default 10)")
    search.add_argument("--explain", action="store_true", help="say of each whether it is a copy and what was altered")
    search.add_argument("--sort", choices=get_args(Sort), help="the order of the neighbours (default best)")
    search.add_argument(
        "--effort",
        choices=get_args(Effort),
        default="normal",
        help="thorough: also turned, mirrored, negative, and parts of it",
    )
    search.add_argument("--json", action="store_true", help="print the API's whole answer as JSON")
    search.add_argument("--url", help="the API's address (default: from LOOKALIKE_API_HOST and _PORT)")
    verbs.add_parser("openapi", help="print the OpenAPI document")
    arguments = parser.parse_args()
    try:
        settings = load_settings()
        if arguments.verb == "serve":
            return _serve(settings, arguments.processes or settings.api_processes)
        if arguments.verb == "openapi":
            return _openapi(settings)
        return _search(arguments, arguments.url or settings.api_address)
    except LookalikeError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _serve(settings: Settings, processes: int) -> int:
    from api.server import serve  # brings NumPy, scikit-learn and the drivers, which a search does not need

    return serve(settings, processes)


def _openapi(settings: Settings) -> int:
    from api.app import create_app

    print(json.dumps(create_app(settings).openapi(), indent=1))
    return 0


def _search(arguments: argparse.Namespace, address: str) -> int:
    from api.table import neighbours_table

    try:
        answer = Client(address).search_file(
            arguments.file, k=arguments.k, explain=arguments.explain, sort=arguments.sort, effort=arguments.effort
        )
    except OSError as error:
        print(f"{arguments.file} cannot be read: {error.strerror}.", file=sys.stderr)
        return 1
    except ApiError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(answer.raw, ensure_ascii=False) if arguments.json else neighbours_table(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
