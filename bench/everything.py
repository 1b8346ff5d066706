"""All measurements in order, each into a file of results; starts Kafka, Cassandra and our programs where they do not run."""

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.as_of import measure_as_of
from bench.audit import measure_audit
from bench.capacity.compare import compare
from bench.costs import measure_costs
from bench.duplicates import measure_duplicates
from bench.embedders import cases
from bench.engine import measure_engine
from bench.explain import measure_explain
from bench.filters import measure_filters
from bench.freshness import measure_freshness
from bench.http import measure_http
from bench.memory import measure_memory
from bench.own_pipeline import own_stack
from bench.peers import METHODS, installed_methods
from bench.photo_road import measure_photo_road
from bench.photos import measure_photos
from bench.pipeline import measure_pipeline
from bench.results import write_result
from bench.scaling import measure_scaling
from bench.scenarios import measure_batches, measure_during_rebuild, measure_tail
from bench.search import DIGITS, measure_search, search_data
from bench.systems import SYSTEMS, measure_systems
from bench.watches import measure_watches
from contract.errors import LookalikeError
from contract.settings import Settings

MANY = 1_000_000
REAL = 200_000
BUILD_THREADS = 2
# Building all others over a million takes ten minutes more.
OVER_MANY = ["lookalike", "faiss-flat", "hnswlib"]
REPORT_ENCODER = "report-autoencoder"
REPORT = f"LOOKALIKE_ENCODER={REPORT_ENCODER} python -m bench"
QUICK = "python -m bench all --quick"


@dataclass(frozen=True)
class Measurement:
    """One file of results.

    Attributes:
        command: repeats it alone.
        needs_stack: it runs against Kafka, Cassandra and our programs.
    """

    name: str
    command: str
    measure: Callable[[Settings], dict[str, Any]]
    needs_stack: bool = False


def measurements(*, quick: bool = False, photos: Path | None = None) -> list[Measurement]:
    """What `make bench` runs, in its order.

    Args:
        quick: with sizes that only show that it works.
        photos: folder of photographs to search among; None for parts of the two that scikit-learn brings.
    """
    return _quick() if quick else _full(photos)


def measure_everything(
    settings: Settings, folder: Path, wanted: Sequence[Measurement], running: Settings | None = None
) -> list[str]:
    """Run them and write their results into `folder`; one that fails does not keep the others from running.

    Args:
        running: of a stack that runs; None starts one when it is needed first.

    Returns:
        The names of those that failed.
    """
    failed = []
    with ExitStack() as stack:
        for number, one in enumerate(wanted, 1):
            began = time.monotonic()
            _say(f"[{number}/{len(wanted)}] {one.name}: {one.command}")
            try:
                if one.needs_stack and running is None:
                    _say("    starting Kafka, Cassandra and our programs")
                    running = stack.enter_context(own_stack(settings))
                figures = one.measure(running if one.needs_stack and running else settings)
            except (LookalikeError, OSError) as error:
                _say(f"    failed: {error}")
                failed.append(one.name)
                continue
            write_result(folder, one.name, one.command, figures)
            _say(f"    done in {time.monotonic() - began:.0f} s")
    return failed


def _report(settings: Settings) -> Settings:
    """With the encoder of the report, whose embeddings the goals of a search were set for."""
    return settings.model_copy(update={"encoder": REPORT_ENCODER})


def _full(photos: Path | None) -> list[Measurement]:
    names = list(METHODS)
    return [
        *(
            Measurement(
                f"search-photos-{n}",
                f"python -m bench search --kind photos --photos FOLDER --real {REAL} --images {n} --threads {BUILD_THREADS}",
                partial(
                    measure_search,
                    n=n,
                    query_count=1000,
                    names=compared,
                    kind="photos",
                    photos=photos,
                    real_max=REAL,
                    threads=BUILD_THREADS,
                ),
            )
            for n, compared in (
                (REAL, ["lookalike", "numpy", "faiss-flat", "hnswlib"]),
                (MANY, ["lookalike", "faiss-flat"]),
            )
        ),
        Measurement(
            f"search-photos-{MANY}-threads-2",
            f"python -m bench search --kind photos --photos FOLDER --images {MANY} --search-threads 2 --methods lookalike faiss-flat",
            lambda s: measure_search(
                s,
                MANY,
                1000,
                ["lookalike", "faiss-flat"],
                kind="photos",
                photos=photos,
                real_max=REAL,
                search_threads=2,
            ),
        ),
        Measurement("search-60000", f"{REPORT} search", lambda s: measure_search(_report(s), 60_000, 1000, names)),
        Measurement(
            "search-contrast-60000", "python -m bench search", lambda s: measure_search(s, 60_000, 1000, names)
        ),
        Measurement(
            "search-uniform-60000",
            "python -m bench search --kind uniform",
            lambda s: measure_search(s, 60_000, 1000, names, kind="uniform"),
        ),
        Measurement(
            "search-1000000",
            f"{REPORT} search --images {MANY} --methods {' '.join(OVER_MANY)}",
            lambda s: measure_search(_report(s), MANY, 1000, OVER_MANY),
        ),
        Measurement(
            "tail-60000",
            f"{REPORT} search --tail 0.2 --deleted 0.05",
            lambda s: measure_tail(_report(s), 60_000, 1000, tail=0.2, deleted=0.05),
        ),
        Measurement(
            f"tail-photos-{REAL}",
            f"python -m bench search --kind photos --photos FOLDER --real {REAL} --images {REAL} --tail 0.2 --deleted 0.05",
            lambda s: measure_tail(s, REAL, 1000, tail=0.2, deleted=0.05, kind="photos", photos=photos, real_max=REAL),
        ),
        Measurement(
            f"batches-photos-{REAL}",
            f"python -m bench search --kind photos --photos FOLDER --real {REAL} --images {REAL} --together 64",
            lambda s: measure_batches(s, REAL, 1024, 64, kind="photos", photos=photos, real_max=REAL),
        ),
        Measurement(
            "rebuild-60000",
            f"{REPORT} search --during-rebuild",
            lambda s: measure_during_rebuild(_report(s), 60_000, 1000),
        ),
        Measurement(
            "rebuild-1000000",
            f"{REPORT} search --during-rebuild --images 1000000",
            lambda s: measure_during_rebuild(_report(s), MANY, 1000),
        ),
        Measurement(
            "history-60000", "python -m bench as-of", lambda s: measure_as_of(s, 60_000, 1000, [0.01, 0.1, 0.5])
        ),
        Measurement("engine", "python -m bench engine --memory", lambda s: _engine(s, REAL)),
        Measurement("engine-1000000", f"python -m bench engine --images {MANY} --memory", lambda s: _engine(s, MANY)),
        Measurement(
            "systems", f"{REPORT} systems", lambda s: measure_systems(_report(s), 60_000, 1000, 200, list(SYSTEMS))
        ),
        Measurement("filters", f"{REPORT} filters", lambda s: measure_filters(_report(s), 60_000, 1000)),
        Measurement(
            "duplicates",
            "python -m bench duplicates",
            lambda s: measure_duplicates(s, 100_000, 2000, 200, folder=None),
        ),
        Measurement("explain", "python -m bench explain", lambda s: measure_explain(s, 2000, 50_000, 200)),
        Measurement("costs", "python -m bench costs", lambda s: measure_costs(s, 20_000, 2000, 20_000, photos)),
        Measurement("simulate", "python -m bench simulate", _simulated),
        Measurement(
            "road",
            "python -m bench road --images 60000",
            lambda s: measure_pipeline(s, 60_000, 100, 20),
            needs_stack=True,
        ),
        Measurement(
            "freshness",
            "python -m bench freshness",
            lambda s: measure_freshness(s, (100, 300, 1000), clients=(0, 4), seconds=20, pause_ms=50),
            needs_stack=True,
        ),
        Measurement(
            "watches", "python -m bench watches", lambda s: measure_watches(s, 10_000, 500, 20), needs_stack=True
        ),
        Measurement("http", "python -m bench http", lambda s: measure_http(s, 16, 15), needs_stack=True),
        Measurement(
            "photos", "python -m bench photos", lambda s: measure_photos(s, 10_000, 200, 100), needs_stack=True
        ),
        Measurement(
            "photo-road",
            "python -m bench photo-road --photos FOLDER",
            lambda s: measure_photo_road(s, 2000, photos),
            needs_stack=True,
        ),
        Measurement(
            "memory", "python -m bench memory --large 60", lambda s: measure_memory(s, 60_000, 60), needs_stack=True
        ),
        Measurement("audit", "python -m bench audit", lambda s: measure_audit(s, 6000, 60), needs_stack=True),
    ]


def _quick() -> list[Measurement]:
    names = installed_methods()
    return [
        Measurement("search-2000", QUICK, lambda s: measure_search(s, 2000, 100, names)),
        Measurement("search-uniform-2000", QUICK, lambda s: measure_search(s, 2000, 100, names, kind="uniform")),
        Measurement("tail-2000", QUICK, lambda s: measure_tail(s, 2000, 100, tail=0.2, deleted=0.05)),
        Measurement("batches-2000", QUICK, lambda s: measure_batches(s, 2000, 100, 50, kind="uniform")),
        Measurement("rebuild-2000", QUICK, lambda s: measure_during_rebuild(s, 2000, 100, rounds=1)),
        Measurement("engine", QUICK, lambda s: _engine(s, 500, 20)),
        Measurement("history-2000", QUICK, lambda s: measure_as_of(s, 2000, 100, [0.1])),
        Measurement("systems", QUICK, lambda s: measure_systems(s, 2000, 100, 10, list(SYSTEMS))),
        Measurement("filters", QUICK, lambda s: measure_filters(s, 2000, 100)),
        Measurement("duplicates", QUICK, lambda s: measure_duplicates(s, 500, 30, 5, folder=None)),
        Measurement("costs", QUICK, lambda s: measure_costs(s, 200, 20, 200)),
        Measurement("simulate", QUICK, lambda s: _simulated(s, 300, 2, 1)),
        Measurement(
            "road",
            QUICK,
            lambda s: measure_pipeline(s, 300, 50, 2, embedder_images=300, rounds=1, compared=cases()[:2]),
            needs_stack=True,
        ),
        Measurement(
            "freshness",
            QUICK,
            lambda s: measure_freshness(s, (30, 60), clients=(0, 2), seconds=2, pause_ms=50, floor_rounds=20),
            needs_stack=True,
        ),
        Measurement("watches", QUICK, lambda s: measure_watches(s, 50, 50, 1), needs_stack=True),
        Measurement("http", QUICK, lambda s: measure_http(s, 4, 1, searches=50), needs_stack=True),
        Measurement(
            "photos",
            QUICK,
            lambda s: measure_photos(s, 30, 4, 2, core_images=4, query_size_px=(800, 600)),
            needs_stack=True,
        ),
        Measurement("photo-road", QUICK, lambda s: measure_photo_road(s, 30, None), needs_stack=True),
        Measurement("memory", QUICK, lambda s: measure_memory(s, 300, 0), needs_stack=True),
        Measurement("audit", QUICK, lambda s: measure_audit(s, 100, 3), needs_stack=True),
    ]


def _engine(settings: Settings, images: int, queries: int = 200) -> dict[str, Any]:
    return measure_engine(settings, search_data(settings, images, queries), kind=DIGITS, with_memory=True)


def _simulated(settings: Settings, images: int = 12_000, seconds: float = 10, rounds: int = 2) -> dict[str, Any]:
    with own_stack(settings, only=("servers",)) as servers:  # programs that wait would take of the cores
        measured = measure_scaling(servers, images, (50, 100), seconds, rounds)
    return measured | compare(measured)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
