"""Measure: `python -m bench road`."""

import argparse
import json
import sys

from bench.road import measure_road
from contract.errors import LookalikeError
from contract.settings import load_settings


def main() -> int:
    """Run one measurement and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure the running stack (`make up` first).",
        epilog="Example: python -m bench road --images 5000 --rate 100 --json",
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    road = verbs.add_parser("road", help="images/s from topic to searchable, freshness, and the cost of each stage")
    road.add_argument("--images", type=int, default=5000, help="images published at full speed (default %(default)s)")
    road.add_argument("--rate", type=float, default=100, help="images/s of the paced part (default %(default)s)")
    road.add_argument("--seconds", type=float, default=20, help="length of the paced part (default %(default)s)")
    road.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    try:
        figures = measure_road(load_settings(), arguments.images, arguments.rate, arguments.seconds)
    except LookalikeError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped; what was published stays in the gallery under bench/.", file=sys.stderr)
        return 130
    if arguments.json:
        print(json.dumps(figures, indent=2))
    else:
        for name, value in figures.items():
            print(f"{name:40}{value:>14}" if not isinstance(value, dict) else f"{name:40}{json.dumps(value)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
