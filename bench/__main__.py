"""The command line of the measurements: `all` runs every one of them, `report` and `plots` show what was measured."""

import argparse
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bench.options
from bench import measures
from contract.errors import LookalikeError
from runtime.command_line import ASKED_WRONGLY, FAILED, TERMINATED, AddArguments, Program, Run, Verb, run_program

if TYPE_CHECKING:
    from contract.settings import Settings

Measure = Callable[["Settings", argparse.Namespace], dict[str, Any] | int]


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 1 failed, 2 wrongly asked, 130 stopped by Ctrl-C."""
    program = Program(
        prog="python -m bench",
        description="Measure the running stack (`make up` first), or searches beside other libraries.",
        epilog="Example: python -m bench road --images 5000 --rate 100 --json",
        verbs=VERBS,
    )
    return run_program(program, arguments)


def _measured(measure: Measure) -> Run:
    """The verb that measures and tells the figures, or returns the exit status that there is instead."""

    def run(settings: "Settings", options: argparse.Namespace) -> int:
        from contract.settings import for_digits

        # So that what a measurement started ends with it.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
        try:
            # Nearly all measurements are of digits; those of photographs name their encoder themselves.
            figures = measure(for_digits(settings), options)
        except ModuleNotFoundError as error:
            raise LookalikeError(f"{error}. Install what is measured beside ours: `make bench-deps`.") from error
        if isinstance(figures, int):
            return figures
        _tell(figures, is_json=options.json)
        return 0

    return run


def _all(settings: "Settings", options: argparse.Namespace) -> int:
    from bench.everything import measure_everything, measurements
    from bench.goals import outcomes
    from bench.report import goals_table
    from bench.results import RESULTS_DIR, read_results

    folder = settings.var_dir / "bench" / "quick" if options.quick else RESULTS_DIR
    known = {one.name: one for one in measurements(quick=options.quick, photos=options.photos)}
    unknown = sorted(set(options.only or ()) - set(known))
    if unknown:
        print(f"There is no measurement {unknown[0]!r}, only: {', '.join(known)}.", file=sys.stderr)
        return ASKED_WRONGLY
    failed = measure_everything(settings, folder, [known[name] for name in options.only or known])
    results = read_results(folder)
    _draw(results, folder / "plots" if options.quick else None)
    if not options.quick:
        print(goals_table(outcomes(results)))
    print(f"Results: {folder}" + (f". Failed: {', '.join(failed)}." if failed else ""))
    return 1 if failed else 0


def _report(_: "Settings", options: argparse.Namespace) -> int:
    from bench.report import markdown
    from bench.results import read_results

    print(markdown(read_results(options.results)), end="")
    return 0


def _plots(_: "Settings", options: argparse.Namespace) -> int:
    from bench.results import read_results

    return _draw(read_results(options.results), None)


def _add_capacity(capacity: argparse.ArgumentParser) -> None:
    from bench.capacity.command import add_capacity

    add_capacity(capacity)


def _capacity(settings: "Settings", options: argparse.Namespace) -> int:
    from bench.capacity.command import run_capacity

    return run_capacity(settings, options)


def _draw(results: dict[str, dict[str, Any]], folder: Path | None) -> int:
    from bench.plots import PLOTS_DIR, draw_all

    try:
        for path in draw_all(results, folder or PLOTS_DIR):
            print(path)
    except ModuleNotFoundError as error:
        print(f"Nothing was drawn: {error}. Install it: `make bench-deps`.", file=sys.stderr)
        return FAILED
    return 0


def _tell(figures: dict[str, Any], *, is_json: bool) -> None:
    if is_json:
        print(json.dumps(figures, indent=2))
        return
    for name, value in figures.items():
        if name != "rows":
            print(f"{name:40}{json.dumps(value) if isinstance(value, dict) else value!s}")
    hidden = ("histogram", "sweep")
    for row in figures.get("rows", []):
        print("  ".join(f"{name}={json.dumps(value)}" for name, value in row.items() if name not in hidden))


def _verb(name: str, measure: Measure, add_arguments: AddArguments, summary: str, example: str) -> Verb:
    return Verb(
        name=name,
        summary=summary,
        run=_measured(measure),
        add_arguments=add_arguments,
        epilog=f"Example: %(prog)s {example}",
        interrupted="Stopped; what was published stays in the gallery under bench/.",
    )


VERBS = (
    _verb(
        "all",
        _all,
        bench.options.add_all,
        "every measurement in order, with results, plots and goals",
        "--only search-60000 freshness",
    ),
    _verb(
        "road",
        measures.pipeline,
        bench.options.add_pipeline,
        "images/s from topic to searchable, freshness, embedders by themselves",
        "--images 5000 --rate 100 --json",
    ),
    _verb(
        "freshness",
        measures.freshness,
        bench.options.add_freshness,
        "confirmed by Kafka → searchable, at several rates, while others search",
        "--rates 100 300 --clients 0",
    ),
    _verb(
        "watches",
        measures.watches,
        bench.options.add_watches,
        "feed row written → match confirmed, with many watches (servers must run)",
        "--watches 10000 --rate 500",
    ),
    _verb(
        "http",
        measures.http,
        bench.options.add_http,
        "searches with images by one client and by many at once, and beside a route that only echoes",
        "--clients 32",
    ),
    _verb(
        "photos",
        measures.photos,
        bench.options.add_photos,
        "photographs: what one costs on one core, and as a query of 12 Mpx (servers must run)",
        "--images 1000 --searches 50",
    ),
    _verb(
        "photo-road",
        measures.photo_road,
        bench.options.add_photo_road,
        "photographs/s from topic to searchable, beside decoding and LiteRT alone on all cores (servers must run)",
        "--photos ~/Pictures",
    ),
    _verb(
        "memory",
        measures.memory,
        bench.options.add_memory,
        "the most memory that each process takes, in a pipeline of its own (servers must run)",
        "--images 10000",
    ),
    _verb(
        "audit",
        measures.audit,
        bench.options.add_audit,
        "processor time and memory of the audit, as it comes and as fast as it can (servers must run)",
        "--seconds 20",
    ),
    _verb(
        "costs",
        measures.costs,
        bench.options.add_costs,
        "bytes of an image in each table, in Kafka and in the index, and processor time of each program (no stack needed)",
        "--digits 5000 --images 500",
    ),
    _verb(
        "simulate",
        measures.simulate,
        bench.options.add_simulate,
        "one, two and three embedders, measured and simulated with what one of them costs (servers must run)",
        "--recorded",
    ),
    _verb(
        "search",
        measures.search,
        bench.options.add_search,
        "one exact search beside other libraries (needs `make bench-deps`, no stack)",
        "--methods lookalike numpy",
    ),
    _verb(
        "as-of",
        measures.as_of,
        bench.options.add_as_of,
        "a search as of an earlier time beside one of now, with a share of the images replaced since (no stack)",
        "--replaced 0.01 0.1",
    ),
    _verb(
        "engine",
        measures.engine,
        bench.options.add_engine,
        "recall, searches and writing of the engine cassandra, beside the exact one (no stack needed)",
        "--images 20000 --memory",
    ),
    _verb(
        "systems",
        measures.systems,
        bench.options.add_systems,
        "whole embedded systems beside ours (needs `make bench-deps`, no stack)",
        "--systems lookalike lancedb",
    ),
    _verb(
        "filters",
        measures.filters,
        bench.options.add_filters,
        "what filters cost, beside Qdrant's and LanceDB's local modes (needs `make bench-deps`, no stack)",
        "--images 10000 --queries 200",
    ),
    _verb(
        "explain",
        measures.explain,
        bench.options.add_explain,
        "what verdicts are worth and what they cost (no stack needed)",
        "--copies 500",
    ),
    _verb(
        "duplicates",
        measures.duplicates,
        bench.options.add_duplicates,
        "what it costs to search photographs for duplicates (no stack needed)",
        "--images 20000",
    ),
    Verb(
        name="capacity",
        summary="machines, memory, disk, cores and traffic that so many images need, from measured rates",
        run=_capacity,
        add_arguments=_add_capacity,
        epilog="Example: %(prog)s --images 1e9 --rate 2000 --searches 500 --kind photos",
    ),
    _verb("report", _report, bench.options.add_results, "the results as markdown", "--results var/bench/quick"),
    _verb(
        "plots",
        _plots,
        bench.options.add_results,
        "draw the results (needs `make bench-deps`)",
        "--results var/bench/quick",
    ),
)

if __name__ == "__main__":
    sys.exit(main())
