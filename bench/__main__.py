"""The command line of the measurements: `all` runs every one of them, `report` and `plots` show what was measured."""

import argparse
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bench.options
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
    known = {one.name: one for one in measurements(quick=options.quick)}
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


def _pipeline(settings: "Settings", options: argparse.Namespace) -> dict[str, Any]:
    from bench.pipeline import measure_pipeline

    return measure_pipeline(
        settings, options.images, options.rate, options.seconds, embedder_images=options.embedder_images
    )


def _freshness(settings: "Settings", options: argparse.Namespace) -> dict[str, Any]:
    from bench.freshness import measure_freshness

    return measure_freshness(settings, options.rates, clients=options.clients, seconds=options.seconds)


def _watches(settings: "Settings", options: argparse.Namespace) -> dict[str, Any]:
    from bench.watches import measure_watches

    return measure_watches(settings, options.watches, options.rate, options.seconds)


def _http(settings: "Settings", options: argparse.Namespace) -> dict[str, Any]:
    from bench.http import measure_http

    return measure_http(settings, options.clients, options.seconds)


def _photos(settings: "Settings", options: argparse.Namespace) -> dict[str, Any]:
    from bench.photos import measure_photos

    return measure_photos(settings, options.images, options.searches, options.thorough, folder=options.photos)


def _memory(settings: "Settings", options: argparse.Namespace) -> dict[str, Any]:
    from bench.memory import measure_memory

    return measure_memory(settings, options.images, options.large)


def _search(settings: "Settings", options: argparse.Namespace) -> dict[str, Any] | int:
    from bench.peers import METHODS
    from bench.scenarios import measure_during_rebuild, measure_tail
    from bench.search import measure_search

    if options.tail is not None:
        return measure_tail(settings, options.images, options.queries, tail=options.tail, deleted=options.deleted)
    if options.during_rebuild:
        return measure_during_rebuild(settings, options.images, options.queries)
    names = options.methods or list(METHODS)
    if not _are_known(names, METHODS, "method"):
        return ASKED_WRONGLY
    return measure_search(
        settings, options.images, options.queries, names, is_uniform=options.uniform, threads=options.threads
    )


def _as_of(settings: "Settings", options: argparse.Namespace) -> dict[str, Any]:
    from bench.as_of import measure_as_of

    return measure_as_of(settings, options.images, options.queries, options.replaced)


def _explain(settings: "Settings", options: argparse.Namespace) -> dict[str, Any]:
    from bench.explain import measure_explain  # OpenCV, which the other measurements do not need

    return measure_explain(settings, options.copies, options.pairs, options.questions)


def _duplicates(settings: "Settings", options: argparse.Namespace) -> dict[str, Any]:
    from bench.duplicates import measure_duplicates

    return measure_duplicates(settings, options.images, options.embedded, options.pairs, folder=options.photos)


def _systems(settings: "Settings", options: argparse.Namespace) -> dict[str, Any] | int:
    from bench.systems import SYSTEMS, measure_systems

    names = options.systems or list(SYSTEMS)
    if not _are_known(names, SYSTEMS, "system"):
        return ASKED_WRONGLY
    return measure_systems(settings, options.images, options.queries, options.inserts, names)


def _filters(settings: "Settings", options: argparse.Namespace) -> dict[str, Any]:
    from bench.filters import measure_filters

    return measure_filters(settings, options.images, options.queries)


def _report(_: "Settings", options: argparse.Namespace) -> int:
    from bench.report import markdown
    from bench.results import read_results

    print(markdown(read_results(options.results)), end="")
    return 0


def _plots(_: "Settings", options: argparse.Namespace) -> int:
    from bench.results import read_results

    return _draw(read_results(options.results), None)


def _draw(results: dict[str, dict[str, Any]], folder: Path | None) -> int:
    from bench.plots import PLOTS_DIR, draw_all

    try:
        for path in draw_all(results, folder or PLOTS_DIR):
            print(path)
    except ModuleNotFoundError as error:
        print(f"Nothing was drawn: {error}. Install it: `make bench-deps`.", file=sys.stderr)
        return FAILED
    return 0


def _are_known(names: list[str], known: Any, what: str) -> bool:
    unknown = sorted(set(names) - set(known))
    if unknown:
        print(f"There is no {what} {unknown[0]!r}, only: {', '.join(known)}.", file=sys.stderr)
    return not unknown


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
        _pipeline,
        bench.options.add_pipeline,
        "images/s from topic to searchable, freshness, embedders by themselves",
        "--images 5000 --rate 100 --json",
    ),
    _verb(
        "freshness",
        _freshness,
        bench.options.add_freshness,
        "confirmed by Kafka → searchable, at several rates, while others search",
        "--rates 100 300 --clients 0",
    ),
    _verb(
        "watches",
        _watches,
        bench.options.add_watches,
        "feed row written → match confirmed, with many watches (servers must run)",
        "--watches 10000 --rate 500",
    ),
    _verb(
        "http", _http, bench.options.add_http, "searches with images by one client and by many at once", "--clients 32"
    ),
    _verb(
        "photos",
        _photos,
        bench.options.add_photos,
        "photographs: what one costs on one core, and as a query of 12 Mpx (servers must run)",
        "--images 1000 --searches 50",
    ),
    _verb(
        "memory",
        _memory,
        bench.options.add_memory,
        "the most memory that each process takes, in a pipeline of its own (servers must run)",
        "--images 10000",
    ),
    _verb(
        "search",
        _search,
        bench.options.add_search,
        "one exact search beside other libraries (needs `make bench-deps`, no stack)",
        "--methods lookalike numpy",
    ),
    _verb(
        "as-of",
        _as_of,
        bench.options.add_as_of,
        "a search as of an earlier time beside one of now, with a share of the images replaced since (no stack)",
        "--replaced 0.01 0.1",
    ),
    _verb(
        "systems",
        _systems,
        bench.options.add_systems,
        "whole embedded systems beside ours (needs `make bench-deps`, no stack)",
        "--systems lookalike lancedb",
    ),
    _verb(
        "filters",
        _filters,
        bench.options.add_filters,
        "what filters cost, beside Qdrant's and LanceDB's local modes (needs `make bench-deps`, no stack)",
        "--images 10000 --queries 200",
    ),
    _verb(
        "explain",
        _explain,
        bench.options.add_explain,
        "what verdicts are worth and what they cost (no stack needed)",
        "--copies 500",
    ),
    _verb(
        "duplicates",
        _duplicates,
        bench.options.add_duplicates,
        "what it costs to search photographs for duplicates (no stack needed)",
        "--images 20000",
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
