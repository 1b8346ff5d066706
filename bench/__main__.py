"""Measure: `python -m bench road`, `http`, `memory` and `search`."""

import argparse
import json
import sys
from typing import Any

from bench.http import measure_http
from bench.memory import measure_memory
from bench.road import measure_road
from contract.errors import LookalikeError
from contract.settings import load_settings


def main() -> int:
    """Run one measurement and return the exit status."""
    arguments = _parser().parse_args()
    try:
        status: int = arguments.measure(arguments)
    except LookalikeError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped; what was published stays in the gallery under bench/.", file=sys.stderr)
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure the running stack (`make up` first), or one search beside other libraries.",
        epilog="Example: python -m bench road --images 5000 --rate 100 --json",
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print JSON instead of a table")

    road = verbs.add_parser(
        "road", parents=[common], help="images/s from topic to searchable, freshness, and the cost of each stage"
    )
    road.add_argument("--images", type=int, default=5000, help="images published at full speed (default %(default)s)")
    road.add_argument("--rate", type=float, default=100, help="images/s of the paced part (default %(default)s)")
    road.add_argument("--seconds", type=float, default=20, help="length of the paced part (default %(default)s)")
    road.set_defaults(measure=_road)

    http = verbs.add_parser("http", parents=[common], help="searches with images by one client and by many at once")
    http.add_argument("--clients", type=int, default=16, help="of the second part (default %(default)s)")
    http.add_argument("--seconds", type=float, default=10, help="length of each part (default %(default)s)")
    http.set_defaults(measure=_http)

    memory = verbs.add_parser(
        "memory",
        parents=[common],
        help="the most memory that each process takes, on a road of their own (servers must run)",
    )
    memory.add_argument("--images", type=int, default=60_000, help="digits, at most 60000 (default %(default)s)")
    memory.add_argument("--large", type=int, default=500, help="images of 7.9 MiB, 9 GB on disk (default %(default)s)")
    memory.set_defaults(measure=_memory)

    search = verbs.add_parser(
        "search", parents=[common], help="one exact search beside other libraries (needs `make bench-deps`, no stack)"
    )
    search.add_argument("--images", "--n", type=int, default=60_000, help="embeddings (default %(default)s)")
    search.add_argument(
        "--queries", type=int, default=1000, help="queries that are not among them (default %(default)s)"
    )
    search.add_argument("--methods", nargs="+", help="only these, e.g. lookalike numpy")
    search.add_argument(
        "--uniform", action="store_true", help="uniform random numbers instead of digits: the worst case"
    )
    search.set_defaults(measure=_search)
    return parser


def _road(arguments: argparse.Namespace) -> int:
    return _tell(measure_road(load_settings(), arguments.images, arguments.rate, arguments.seconds), arguments)


def _http(arguments: argparse.Namespace) -> int:
    return _tell(measure_http(load_settings(), arguments.clients, arguments.seconds), arguments)


def _memory(arguments: argparse.Namespace) -> int:
    return _tell(measure_memory(load_settings(), arguments.images, arguments.large), arguments)


def _tell(figures: dict[str, Any], arguments: argparse.Namespace) -> int:
    if arguments.json:
        print(json.dumps(figures, indent=2))
    else:
        for name, value in figures.items():
            print(f"{name:40}{value:>14}" if not isinstance(value, dict) else f"{name:40}{json.dumps(value)}")
    return 0


def _search(arguments: argparse.Namespace) -> int:
    from bench.peers import METHODS  # numba and scikit-learn, which the other measurements do not need
    from bench.search import measure_search

    names = arguments.methods or list(METHODS)
    unknown = sorted(set(names) - set(METHODS))
    if unknown:
        print(f"There is no method {unknown[0]!r}, only: {', '.join(METHODS)}.", file=sys.stderr)
        return 2
    try:
        figures = measure_search(
            load_settings(), arguments.images, arguments.queries, names, is_uniform=arguments.uniform
        )
    except ModuleNotFoundError as error:
        print(f"{error}. Install the peers with `make bench-deps`, or name --methods without it.", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return 0
    print(f"{figures['embeddings']:,} {figures['data']}, {figures['queries']} queries; {figures['machine']}")
    columns = ("method", "p50_ms", "p99_ms", "min_ms", "recall_at_10", "build_s", "bytes_per_vector", "effort")
    for line in [dict(zip(columns, columns, strict=True)), *figures["rows"]]:
        print("  ".join(f"{line[column]!s:>16}" for column in columns))
    return 0


if __name__ == "__main__":
    sys.exit(main())
