"""The command line of the measurements: `all` runs every one of them, `report` and `plots` show what was measured."""

import argparse
import json
import signal
import sys
from pathlib import Path
from typing import Any

from bench.results import RESULTS_DIR, read_results
from contract.errors import LookalikeError
from contract.settings import Settings, for_digits, load_settings


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 1 failed, 2 wrongly asked, 130 stopped by Ctrl-C."""
    options = _parser().parse_args(arguments)
    # So that what a measurement started ends with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        figures: dict[str, Any] | int = options.run(options)
    except ModuleNotFoundError as error:
        print(f"{error}. Install what is measured beside ours: `make bench-deps`.", file=sys.stderr)
        return 1
    except LookalikeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped; what was published stays in the gallery under bench/.", file=sys.stderr)
        return 130
    if isinstance(figures, int):
        return figures
    _tell(figures, is_json=options.json)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure the running stack (`make up` first), or searches beside other libraries.",
        epilog="Example: python -m bench road --images 5000 --rate 100 --json",
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    everything = verbs.add_parser("all", help="every measurement in order, with results, plots and goals")
    everything.add_argument(
        "--quick", action="store_true", help="tiny sizes, into var/bench/quick: shows that all of it works"
    )
    everything.add_argument("--only", nargs="+", metavar="NAME", help="only these results, e.g. search-60000 freshness")
    everything.set_defaults(run=_all)

    pipeline = _measurement(
        verbs, "road", _pipeline, "images/s from topic to searchable, freshness, embedders by themselves"
    )
    pipeline.add_argument(
        "--images", type=int, default=5000, help="published at full speed, up to 60000 (default %(default)s)"
    )
    pipeline.add_argument("--rate", type=float, default=100, help="images/s of the paced part (default %(default)s)")
    pipeline.add_argument("--seconds", type=float, default=20, help="length of the paced part (default %(default)s)")
    pipeline.add_argument(
        "--embedder-images", type=int, default=6000, help="for each of the embedders by themselves; 0 leaves them out"
    )

    fresh = _measurement(
        verbs, "freshness", _freshness, "confirmed by Kafka → searchable, at several rates, while others search"
    )
    fresh.add_argument(
        "--rates", type=float, nargs="+", default=[100, 300, 1000], help="images/s (default 100 300 1000)"
    )
    fresh.add_argument(
        "--clients", type=int, nargs="+", default=[0, 4], help="that search meanwhile, each at once again (default 0 4)"
    )
    fresh.add_argument("--seconds", type=float, default=20, help="length of each part (default %(default)s)")

    http = _measurement(verbs, "http", _http, "searches with images by one client and by many at once")
    http.add_argument("--clients", type=int, default=16, help="of the second part (default %(default)s)")
    http.add_argument("--seconds", type=float, default=10, help="length of each part (default %(default)s)")

    photos = _measurement(
        verbs, "photos", _photos, "photographs: what one costs on one core, and as a query of 12 Mpx (servers must run)"
    )
    photos.add_argument("--images", type=int, default=10_000, help="in the gallery (default %(default)s)")
    photos.add_argument("--searches", type=int, default=200, help="that are timed (default %(default)s)")
    photos.add_argument(
        "--thorough", type=int, default=100, help="of them timed with effort=thorough too (default %(default)s)"
    )
    photos.add_argument(
        "--photos",
        type=Path,
        metavar="FOLDER",
        help="photographs for the gallery (default: parts of two that are here)",
    )

    memory = _measurement(
        verbs,
        "memory",
        _memory,
        "the most memory that each process takes, in a pipeline of their own (servers must run)",
    )
    memory.add_argument("--images", type=int, default=60_000, help="digits, at most 60000 (default %(default)s)")
    memory.add_argument("--large", type=int, default=500, help="images of 7.9 MiB, 9 GB on disk (default %(default)s)")

    search = _measurement(
        verbs, "search", _search, "one exact search beside other libraries (needs `make bench-deps`, no stack)"
    )
    search.add_argument("--images", "--n", type=int, default=60_000, help="embeddings (default %(default)s)")
    search.add_argument("--queries", type=int, default=1000, help="that are not among them (default %(default)s)")
    search.add_argument("--methods", nargs="+", help="only these, e.g. lookalike numpy")
    search.add_argument(
        "--threads", type=int, default=1, help="to build approximate indexes with, kept in var/bench (default 1)"
    )
    kind = search.add_mutually_exclusive_group()
    kind.add_argument("--uniform", action="store_true", help="uniform random numbers instead of digits: the worst case")
    kind.add_argument(
        "--tail", type=float, metavar="SHARE", help="ours with this share in the tail, beside one clean base"
    )
    kind.add_argument("--during-rebuild", action="store_true", help="ours while a base of the same size is built")
    search.add_argument(
        "--deleted", type=float, metavar="SHARE", default=0.0, help="deleted images, with --tail (default 0)"
    )

    systems = _measurement(
        verbs, "systems", _systems, "whole embedded systems beside ours (needs `make bench-deps`, no stack)"
    )
    systems.add_argument("--images", type=int, default=60_000, help="embeddings (default %(default)s)")
    systems.add_argument("--queries", type=int, default=1000, help="that are not among them (default %(default)s)")
    systems.add_argument("--inserts", type=int, default=200, help="single inserts until found (default %(default)s)")
    systems.add_argument("--systems", nargs="+", help="only these, e.g. lookalike lancedb")

    explained = _measurement(verbs, "explain", _explain, "what verdicts are worth and what they cost (no stack needed)")
    explained.add_argument("--copies", type=int, default=2000, help="altered copies (default %(default)s)")
    explained.add_argument("--pairs", type=int, default=50_000, help="pairs of near neighbours (default %(default)s)")
    explained.add_argument("--questions", type=int, default=200, help="questions that are timed (default %(default)s)")

    for name, run, summary in (
        ("report", _report, "the results as markdown"),
        ("plots", _plots, "draw the results (needs `make bench-deps`)"),
    ):
        verb = verbs.add_parser(name, help=summary)
        verb.add_argument("--results", type=Path, default=RESULTS_DIR, help="folder of results (default bench/results)")
        verb.set_defaults(run=run)
    return parser


def _measurement(verbs: Any, name: str, run: object, summary: str) -> argparse.ArgumentParser:
    verb: argparse.ArgumentParser = verbs.add_parser(name, help=summary, description=summary)
    verb.add_argument("--json", action="store_true", help="print JSON instead of a table")
    verb.set_defaults(run=run)
    return verb


def _settings() -> Settings:
    """Nearly all measurements are of digits; those of photographs name their encoder themselves."""
    return for_digits(load_settings())


def _all(options: argparse.Namespace) -> int:
    from bench.everything import measure_everything, measurements
    from bench.goals import outcomes
    from bench.report import goals_table

    settings = _settings()
    folder = settings.var_dir / "bench" / "quick" if options.quick else RESULTS_DIR
    known = {one.name: one for one in measurements(quick=options.quick)}
    unknown = sorted(set(options.only or ()) - set(known))
    if unknown:
        print(f"There is no measurement {unknown[0]!r}, only: {', '.join(known)}.", file=sys.stderr)
        return 2
    failed = measure_everything(settings, folder, [known[name] for name in options.only or known])
    results = read_results(folder)
    _draw(results, folder / "plots" if options.quick else None)
    if not options.quick:
        print(goals_table(outcomes(results)))
    print(f"Results: {folder}" + (f". Failed: {', '.join(failed)}." if failed else ""))
    return 1 if failed else 0


def _pipeline(options: argparse.Namespace) -> dict[str, Any]:
    from bench.pipeline import measure_pipeline

    return measure_pipeline(
        _settings(), options.images, options.rate, options.seconds, embedder_images=options.embedder_images
    )


def _freshness(options: argparse.Namespace) -> dict[str, Any]:
    from bench.freshness import measure_freshness

    return measure_freshness(_settings(), options.rates, clients=options.clients, seconds=options.seconds)


def _http(options: argparse.Namespace) -> dict[str, Any]:
    from bench.http import measure_http

    return measure_http(_settings(), options.clients, options.seconds)


def _photos(options: argparse.Namespace) -> dict[str, Any]:
    from bench.photos import measure_photos

    return measure_photos(_settings(), options.images, options.searches, options.thorough, folder=options.photos)


def _memory(options: argparse.Namespace) -> dict[str, Any]:
    from bench.memory import measure_memory

    return measure_memory(_settings(), options.images, options.large)


def _search(options: argparse.Namespace) -> dict[str, Any] | int:
    from bench.peers import METHODS
    from bench.scenarios import measure_during_rebuild, measure_tail
    from bench.search import measure_search

    settings = _settings()
    if options.tail is not None:
        return measure_tail(settings, options.images, options.queries, tail=options.tail, deleted=options.deleted)
    if options.during_rebuild:
        return measure_during_rebuild(settings, options.images, options.queries)
    names = options.methods or list(METHODS)
    if not _are_known(names, METHODS, "method"):
        return 2
    return measure_search(
        settings, options.images, options.queries, names, is_uniform=options.uniform, threads=options.threads
    )


def _explain(options: argparse.Namespace) -> dict[str, Any]:
    from bench.explain import measure_explain  # OpenCV, which the other measurements do not need

    return measure_explain(_settings(), options.copies, options.pairs, options.questions)


def _systems(options: argparse.Namespace) -> dict[str, Any] | int:
    from bench.systems import SYSTEMS, measure_systems

    names = options.systems or list(SYSTEMS)
    if not _are_known(names, SYSTEMS, "system"):
        return 2
    return measure_systems(_settings(), options.images, options.queries, options.inserts, names)


def _report(options: argparse.Namespace) -> int:
    from bench.report import markdown

    print(markdown(read_results(options.results)), end="")
    return 0


def _plots(options: argparse.Namespace) -> int:
    return _draw(read_results(options.results), None)


def _draw(results: dict[str, dict[str, Any]], folder: Path | None) -> int:
    from bench.plots import PLOTS_DIR, draw_all

    try:
        for path in draw_all(results, folder or PLOTS_DIR):
            print(path)
    except ModuleNotFoundError as error:
        print(f"Nothing was drawn: {error}. Install it: `make bench-deps`.", file=sys.stderr)
        return 1
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


if __name__ == "__main__":
    sys.exit(main())
