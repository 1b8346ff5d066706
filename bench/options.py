"""The options of each measurement."""

import argparse
from pathlib import Path

from bench.results import RESULTS_DIR


def add_all(everything: argparse.ArgumentParser) -> None:
    """Options of `all`."""
    everything.add_argument(
        "--quick", action="store_true", help="tiny sizes, into var/bench/quick: shows that all of it works"
    )
    everything.add_argument("--only", nargs="+", metavar="NAME", help="only these results, e.g. search-60000 freshness")
    everything.add_argument(
        "--photos", type=Path, metavar="FOLDER", help="photographs to search among (default: parts of two)"
    )


def add_pipeline(pipeline: argparse.ArgumentParser) -> None:
    """Options of `road`."""
    _add_json(pipeline)
    pipeline.add_argument(
        "--images", type=int, default=5000, help="published at full speed, up to 60000 (default %(default)s)"
    )
    pipeline.add_argument("--rate", type=float, default=100, help="images/s of the paced part (default %(default)s)")
    pipeline.add_argument("--seconds", type=float, default=20, help="length of the paced part (default %(default)s)")
    pipeline.add_argument(
        "--embedder-images", type=int, default=6000, help="for each of the embedders by themselves; 0 leaves them out"
    )


def add_freshness(fresh: argparse.ArgumentParser) -> None:
    """Options of `freshness`."""
    _add_json(fresh)
    fresh.add_argument(
        "--rates", type=float, nargs="+", default=[100, 300, 1000], help="images/s (default 100 300 1000)"
    )
    fresh.add_argument("--clients", type=int, nargs="+", default=[0, 4], help="that search meanwhile (default 0 4)")
    fresh.add_argument(
        "--pause-ms",
        type=float,
        default=50,
        help="of a client after each answer; 0 is a client that never pauses (default %(default)s)",
    )
    fresh.add_argument("--seconds", type=float, default=20, help="length of each part (default %(default)s)")


def add_watches(watches: argparse.ArgumentParser) -> None:
    """Options of `watches`."""
    _add_json(watches)
    watches.add_argument("--watches", type=int, default=10_000, help="up to 10000 (default %(default)s)")
    watches.add_argument("--rate", type=float, default=500, help="images/s (default %(default)s)")
    watches.add_argument("--seconds", type=float, default=20, help="length of the paced part (default %(default)s)")


def add_http(http: argparse.ArgumentParser) -> None:
    """Options of `http`."""
    _add_json(http)
    http.add_argument("--clients", type=int, default=16, help="of the second part (default %(default)s)")
    http.add_argument("--seconds", type=float, default=10, help="length of each part (default %(default)s)")


def add_photos(photos: argparse.ArgumentParser) -> None:
    """Options of `photos`."""
    _add_json(photos)
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


def add_photo_road(road: argparse.ArgumentParser) -> None:
    """Options of `photo-road`."""
    _add_json(road)
    road.add_argument("--images", type=int, default=2000, help="published at once (default %(default)s)")
    road.add_argument(
        "--photos", type=Path, metavar="FOLDER", help="photographs that they are cut from (default: parts of two)"
    )


def add_memory(memory: argparse.ArgumentParser) -> None:
    """Options of `memory`."""
    _add_json(memory)
    memory.add_argument("--images", type=int, default=60_000, help="digits, at most 60000 (default %(default)s)")
    memory.add_argument("--large", type=int, default=500, help="images of 7.9 MiB, 9 GB on disk (default %(default)s)")


def add_audit(audit: argparse.ArgumentParser) -> None:
    """Options of `audit`."""
    _add_json(audit)
    audit.add_argument("--images", type=int, default=6000, help="digits, at most 60000 (default %(default)s)")
    audit.add_argument("--seconds", type=float, default=60, help="length of each part (default %(default)s)")


def add_costs(costs: argparse.ArgumentParser) -> None:
    """Options of `costs`."""
    _add_json(costs)
    costs.add_argument(
        "--digits", type=int, default=20_000, help="published at once, at most 60000 (default %(default)s)"
    )
    costs.add_argument("--images", type=int, default=2000, help="photographs published at once (default %(default)s)")
    costs.add_argument(
        "--vectors", type=int, default=20_000, help="rows of a table with a vector index (default %(default)s)"
    )
    costs.add_argument(
        "--photos", type=Path, metavar="FOLDER", help="photographs that they are cut from (default: parts of two)"
    )


def add_simulate(simulate: argparse.ArgumentParser) -> None:
    """Options of `simulate`."""
    _add_json(simulate)
    simulate.add_argument("--recorded", action="store_true", help="beside what is in bench/results; measure nothing")
    simulate.add_argument(
        "--images", type=int, default=12_000, help="at full speed, at most 60000 (default %(default)s)"
    )
    simulate.add_argument("--rates", type=float, nargs="+", default=[50, 100], help="images/s (default 50 100)")
    simulate.add_argument("--seconds", type=float, default=10, help="length of each rate (default %(default)s)")
    simulate.add_argument("--rounds", type=int, default=2, help="of one, two and three embedders (default %(default)s)")


def add_search(search: argparse.ArgumentParser) -> None:
    """Options of `search`."""
    _add_json(search)
    search.add_argument("--images", "--n", type=int, default=60_000, help="embeddings (default %(default)s)")
    search.add_argument("--queries", type=int, default=1000, help="that are not among them (default %(default)s)")
    search.add_argument("--methods", nargs="+", help="only these, e.g. lookalike numpy")
    search.add_argument(
        "--threads", type=int, default=1, help="to build approximate indexes with, kept in var/bench (default 1)"
    )
    search.add_argument(
        "--kind",
        choices=("digits", "contrast", "report", "photos", "uniform"),
        default="digits",
        help="digits by the encoder of the settings or another one, photographs, or uniform random numbers",
    )
    search.add_argument(
        "--photos", type=Path, metavar="FOLDER", help="photographs, with --kind photos (default: parts of two)"
    )
    search.add_argument(
        "--real",
        type=int,
        default=200_000,
        metavar="N",
        help="so many embeddings of --kind photos are real, and all others mixtures (default %(default)s, an hour's work)",
    )
    search.add_argument(
        "--search-threads", type=int, default=1, metavar="N", help="that one of our searches may use (default 1)"
    )
    scenario = search.add_mutually_exclusive_group()
    scenario.add_argument(
        "--tail", type=float, metavar="SHARE", help="ours with this share in the tail, beside one clean base"
    )
    scenario.add_argument(
        "--together", type=int, metavar="N", help="ours with N queries in a batch, beside the same one by one"
    )
    scenario.add_argument("--during-rebuild", action="store_true", help="ours while a base of the same size is built")
    search.add_argument(
        "--deleted", type=float, metavar="SHARE", default=0.0, help="deleted images, with --tail (default 0)"
    )


def add_as_of(as_of: argparse.ArgumentParser) -> None:
    """Options of `as-of`."""
    _add_json(as_of)
    as_of.add_argument("--images", type=int, default=60_000, help="embeddings (default %(default)s)")
    as_of.add_argument("--queries", type=int, default=1000, help="that are not among them (default %(default)s)")
    as_of.add_argument(
        "--replaced",
        type=float,
        nargs="+",
        metavar="SHARE",
        default=[0.01, 0.1, 0.5],
        help="replaced images (default 0.01 0.1 0.5)",
    )


def add_engine(engine: argparse.ArgumentParser) -> None:
    """Options of `engine`."""
    _add_json(engine)
    engine.add_argument(
        "--images",
        "--count",
        type=int,
        default=200_000,
        help="embeddings, of digits beside altered ones (default %(default)s)",
    )
    engine.add_argument("--queries", type=int, default=200, help="that are not among them (default %(default)s)")
    engine.add_argument(
        "--photos",
        "--folder",
        type=Path,
        metavar="FOLDER",
        help="embeddings of photographs, and mixtures of those, instead",
    )
    engine.add_argument(
        "--memory", action="store_true", help="also an API with this table, beside one with an empty one"
    )


def add_systems(systems: argparse.ArgumentParser) -> None:
    """Options of `systems`."""
    _add_json(systems)
    systems.add_argument("--images", type=int, default=60_000, help="embeddings (default %(default)s)")
    systems.add_argument("--queries", type=int, default=1000, help="that are not among them (default %(default)s)")
    systems.add_argument("--inserts", type=int, default=200, help="single inserts until found (default %(default)s)")
    systems.add_argument("--systems", nargs="+", help="only these, e.g. lookalike lancedb")


def add_filters(filters: argparse.ArgumentParser) -> None:
    """Options of `filters`."""
    _add_json(filters)
    filters.add_argument("--images", type=int, default=60_000, help="digits in the gallery (default %(default)s)")
    filters.add_argument("--queries", type=int, default=1000, help="test digits that are asked (default %(default)s)")


def add_explain(explained: argparse.ArgumentParser) -> None:
    """Options of `explain`."""
    _add_json(explained)
    explained.add_argument("--copies", type=int, default=2000, help="altered copies (default %(default)s)")
    explained.add_argument("--pairs", type=int, default=50_000, help="pairs of near neighbours (default %(default)s)")
    explained.add_argument("--questions", type=int, default=200, help="questions that are timed (default %(default)s)")


def add_duplicates(duplicates: argparse.ArgumentParser) -> None:
    """Options of `duplicates`."""
    _add_json(duplicates)
    duplicates.add_argument("--images", type=int, default=100_000, help="that are compared (default %(default)s)")
    duplicates.add_argument(
        "--embedded", type=int, default=2000, help="photographs that the others are drawn like (default %(default)s)"
    )
    duplicates.add_argument("--pairs", type=int, default=200, help="that are judged (default %(default)s)")
    duplicates.add_argument(
        "--photos", type=Path, metavar="FOLDER", help="photographs (default: parts of two that are here)"
    )


def add_results(verb: argparse.ArgumentParser) -> None:
    """Options of what shows results."""
    verb.add_argument("--results", type=Path, default=RESULTS_DIR, help="folder of results (default bench/results)")


def _add_json(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--json", action="store_true", help="print JSON instead of a table")
