"""What each verb measures, with its options; a measurement's module is loaded only when it is asked for."""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from contract.errors import ConfigurationError
from runtime.command_line import ASKED_WRONGLY

if TYPE_CHECKING:
    from contract.settings import Settings


def pipeline(settings: "Settings", options: argparse.Namespace) -> dict[str, Any]:
    """From topic to answer."""
    from bench.pipeline import measure_pipeline

    return measure_pipeline(
        settings, options.images, options.rate, options.seconds, embedder_images=options.embedder_images
    )


def freshness(settings: "Settings", options: argparse.Namespace) -> dict[str, Any]:
    """From confirmed to searchable."""
    from bench.freshness import measure_freshness

    return measure_freshness(
        settings, options.rates, clients=options.clients, seconds=options.seconds, pause_ms=options.pause_ms
    )


def watches(settings: "Settings", options: argparse.Namespace) -> dict[str, Any]:
    """Telling what matches watches."""
    from bench.watches import measure_watches

    return measure_watches(settings, options.watches, options.rate, options.seconds)


def http(settings: "Settings", options: argparse.Namespace) -> dict[str, Any]:
    """Searches over HTTP."""
    from bench.http import measure_http

    return measure_http(settings, options.clients, options.seconds)


def photos(settings: "Settings", options: argparse.Namespace) -> dict[str, Any]:
    """What photographs cost."""
    from bench.photos import measure_photos

    return measure_photos(settings, options.images, options.searches, options.thorough, folder=options.photos)


def photo_road(settings: "Settings", options: argparse.Namespace) -> dict[str, Any]:
    """From topic to searchable, for photographs."""
    from bench.photo_road import measure_photo_road

    return measure_photo_road(settings, options.images, options.photos)


def memory(settings: "Settings", options: argparse.Namespace) -> dict[str, Any]:
    """What programs hold."""
    from bench.memory import measure_memory

    return measure_memory(settings, options.images, options.large)


def audit(settings: "Settings", options: argparse.Namespace) -> dict[str, Any]:
    """What the audit takes."""
    from bench.audit import measure_audit

    return measure_audit(settings, options.images, options.seconds)


def costs(settings: "Settings", options: argparse.Namespace) -> dict[str, Any]:
    """What an image takes everywhere."""
    from bench.costs import measure_costs

    return measure_costs(settings, options.digits, options.images, options.vectors, options.photos)


def simulate(settings: "Settings", options: argparse.Namespace) -> dict[str, Any]:
    """The simulated pipeline beside the measured one."""
    from bench.capacity.compare import compare
    from bench.results import RESULTS_DIR, read_results
    from bench.scaling import measure_scaling

    if options.recorded:
        recorded = read_results(RESULTS_DIR).get("simulate")
        if recorded is None:
            raise ConfigurationError(
                f"{RESULTS_DIR} holds no simulate.json. Measure first: `lookalike bench all --only simulate`."
            )
        measured = recorded
    else:
        measured = measure_scaling(settings, options.images, options.rates, options.seconds, options.rounds)
    shown = compare(measured)
    return shown if options.recorded else measured | shown


def search(settings: "Settings", options: argparse.Namespace) -> dict[str, Any] | int:
    """Searches beside other libraries, with a tail, or during a rebuild."""
    from bench.peers import METHODS
    from bench.scenarios import measure_batches, measure_during_rebuild, measure_tail
    from bench.search import measure_search

    data = {"kind": options.kind, "photos": options.photos, "real_max": options.real}
    if options.tail is not None:
        return measure_tail(
            settings, options.images, options.queries, tail=options.tail, deleted=options.deleted, **data
        )
    if options.together:
        return measure_batches(settings, options.images, options.queries, options.together, **data)
    if options.during_rebuild:
        return measure_during_rebuild(settings, options.images, options.queries)
    names = options.methods or list(METHODS)
    if not are_known(names, METHODS, "method"):
        return ASKED_WRONGLY
    return measure_search(
        settings,
        options.images,
        options.queries,
        names,
        **data,
        threads=options.threads,
        search_threads=options.search_threads,
    )


def as_of(settings: "Settings", options: argparse.Namespace) -> dict[str, Any]:
    """Searches as of an earlier time."""
    from bench.as_of import measure_as_of

    return measure_as_of(settings, options.images, options.queries, options.replaced)


def engine(settings: "Settings", options: argparse.Namespace) -> dict[str, Any]:
    """Cassandra's vector index beside the exact one."""
    from bench.engine import measure_engine
    from bench.search import DIGITS, search_data

    kind = "photos" if options.photos else DIGITS
    data = search_data(settings, options.images, options.queries, kind=kind, photos=options.photos)
    return measure_engine(settings, data, kind=kind, with_memory=options.memory)


def explain(settings: "Settings", options: argparse.Namespace) -> dict[str, Any]:
    """Verdicts."""
    from bench.explain import measure_explain  # OpenCV, which the other measurements do not need

    return measure_explain(settings, options.copies, options.pairs, options.questions)


def duplicates(settings: "Settings", options: argparse.Namespace) -> dict[str, Any]:
    """Finding duplicates."""
    from bench.duplicates import measure_duplicates

    return measure_duplicates(settings, options.images, options.embedded, options.pairs, folder=options.photos)


def systems(settings: "Settings", options: argparse.Namespace) -> dict[str, Any] | int:
    """Whole systems."""
    from bench.systems import SYSTEMS, measure_systems

    names = options.systems or list(SYSTEMS)
    if not are_known(names, SYSTEMS, "system"):
        return ASKED_WRONGLY
    return measure_systems(settings, options.images, options.queries, options.inserts, names)


def filters(settings: "Settings", options: argparse.Namespace) -> dict[str, Any]:
    """Searches with filters."""
    from bench.filters import measure_filters

    return measure_filters(settings, options.images, options.queries)


def are_known(names: list[str], known: Any, what: str) -> bool:
    """Whether all names are known; says which are not."""
    unknown = sorted(set(names) - set(known))
    if unknown:
        print(f"There is no {what} {unknown[0]!r}, only: {', '.join(known)}.", file=sys.stderr)
    return not unknown
