"""`lookalike capacity`: what so many images need, as text, as JSON, or as the page docs/capacity.md."""

import argparse
import json
from typing import TYPE_CHECKING, Any

from bench.capacity.foretold import Foretold, foretell
from bench.capacity.plans import Load, Machine, Plan, known
from bench.capacity.rates import KINDS, Rates, load_rates
from bench.capacity.sizing import CORES_SHARE, DISK_SHARE, ENGINES, MEMORY_SHARE, REPLICATION, image_bytes, plan
from bench.capacity.text import UNMEASURED, as_text
from bench.results import RESULTS_DIR, read_results
from contract.errors import ConfigurationError

if TYPE_CHECKING:
    from contract.settings import Settings

MEMORY_GB_MIN = 8.0


def add_capacity(capacity: argparse.ArgumentParser) -> None:
    """Options of `capacity`."""
    capacity.add_argument("--images", type=_positive, default=1e6, help="that are kept, e.g. 1e9 (default 1e6)")
    capacity.add_argument("--rate", type=_not_negative, default=100, help="images/s that come in (default %(default)s)")
    capacity.add_argument("--searches", type=_not_negative, default=10, help="a second (default %(default)s)")
    capacity.add_argument("--kind", choices=KINDS, default="photos", help="of images (default %(default)s)")
    capacity.add_argument(
        "--image-kb", type=_positive, metavar="KB", help="of an encoded image (default: of those that were measured)"
    )
    capacity.add_argument("--cores", type=_cores, default=16, help="of each machine (default %(default)s)")
    capacity.add_argument("--memory-gb", type=_memory, default=128.0, help="of each machine (default %(default)s)")
    capacity.add_argument("--disk-gb", type=_positive, default=4000.0, help="of each machine (default %(default)s)")
    form = capacity.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON instead of tables")
    form.add_argument("--page", action="store_true", help="print docs/capacity.md, whatever else is asked")


def run_capacity(settings: "Settings", options: argparse.Namespace) -> int:
    """Print it; returns the exit status.

    Raises:
        ConfigurationError: nothing was measured yet.
    """
    results = read_results(RESULTS_DIR)
    if options.page:
        from bench.capacity.page import page

        print(page(results), end="")
        return 0
    load = Load(
        images=options.images,
        rate=options.rate,
        searches=options.searches,
        image_bytes=None if options.image_kb is None else options.image_kb * 1000,
        retention_hours=settings.kafka_retention_hours,
    )
    machine = Machine(options.cores, options.memory_gb, options.disk_gb)
    rates = measured_rates(results, options.kind)
    plans = [plan(engine, load, rates, machine) for engine in ENGINES]
    foretold = foretell(plans[0], load, rates, machine, results)
    if options.json:
        print(json.dumps(as_json(load, machine, rates, plans, foretold), indent=2))
    else:
        print(as_text(load, machine, rates, plans, foretold))
    return 0


def measured_rates(results: dict[str, dict[str, Any]], kind: str) -> Rates:
    """Those of a kind.

    Raises:
        ConfigurationError: nothing was measured of it.
    """
    try:
        return load_rates(results, kind)
    except LookupError as error:
        raise ConfigurationError(
            f"{error.args[0]} was not measured, without which nothing is known of {kind}. Measure it: "
            f"`lookalike bench all --only {error.args[0]}`."
        ) from error


def as_json(load: Load, machine: Machine, rates: Rates, plans: list[Plan], foretold: Foretold | None) -> dict[str, Any]:
    """Everything by name; units are in the names."""
    return {
        "kind": rates.kind,
        "images": load.images,
        "rate_per_s": load.rate,
        "searches_per_s": load.searches,
        "image_bytes": known(image_bytes(load, rates)),
        "kafka_retention_hours": load.retention_hours,
        "replication": REPLICATION,
        "machine": {"cores": machine.cores, "memory_gb": machine.memory_gb, "disk_gb": machine.disk_gb},
        "used_at_most": {"cores": CORES_SHARE, "memory": MEMORY_SHARE, "disk": DISK_SHARE},
        "engines": {found.engine: found.to_json() for found in plans},
        "simulated": None if foretold is None else foretold._asdict(),
        "rates": [rate._asdict() for rate in rates.all()],
        "not_measured": [*UNMEASURED, *(rate.what for rate in rates.all() if rate.value is None)],
    }


def _number(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = float("nan")
    if not abs(found) < 1e15:
        raise argparse.ArgumentTypeError(f"{text!r} is no number; expected one such as 2000 or 1e9")
    return found


def _positive(text: str) -> float:
    found = _number(text)
    if found <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0; expected a number such as 2000 or 1e9")
    return found


def _not_negative(text: str) -> float:
    found = _number(text)
    if found < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0; expected 0 or a number such as 2000")
    return found


def _cores(text: str) -> int:
    found = _number(text)
    if found < 1 or found != int(found):
        raise argparse.ArgumentTypeError(f"{text} is no number of cores; expected 1, 2, 3 …")
    return int(found)


def _memory(text: str) -> float:
    found = _number(text)
    if found < MEMORY_GB_MIN:
        raise argparse.ArgumentTypeError(
            f"{text} GB is too little for these programs; expected {MEMORY_GB_MIN:g} or more"
        )
    return found
