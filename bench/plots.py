"""Pictures of the results: cost over n, latencies, recall against time, freshness over rate, cost of each stage."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bench.goals import Results

PLOTS_DIR = Path(__file__).parents[1] / "docs" / "plots"
# One colour a method in every picture, told apart by those who see red and green alike (Okabe and Ito's).
COLOURS = {
    "lookalike": "#d55e00",
    "hnswlib": "#0072b2",
    "faiss-hnsw": "#56b4e9",
    "usearch": "#009e73",
    "faiss-flat": "#cc79a7",
    "numpy": "#7f7f7f",
    "sklearn-kdtree": "#b8860b",
}


def draw_all(results: Results, folder: Path) -> list[Path]:
    """Draw what the results allow; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    searches = {
        int(figures["embeddings"]): figures
        for name, figures in results.items()
        # By size alone: one plot never mixes the embeddings of two encoders.
        if re.fullmatch(r"search-\d+", name) and figures["data"] == "digits"
    }
    drawn = []
    if searches:
        drawn += [_cost_over_n(searches, folder), *_latencies(searches, folder), *_recalls(searches, folder)]
    if "freshness" in results:
        drawn.append(_freshness(results["freshness"], folder))
    if "road" in results and "rows" in results["road"]:
        drawn.append(_stages(results["road"], folder))
    return drawn


def _cost_over_n(searches: dict[int, dict[str, Any]], folder: Path) -> Path:
    path = folder / "cost-over-n.png"
    with _picture(path, "One search of the ten nearest, one thread", "embeddings", "p50, ms") as axes:
        for method, colour in COLOURS.items():
            points = [
                (n, row["p50_ms"])
                for n, figures in sorted(searches.items())
                for row in figures["rows"]
                if row["method"] == method
            ]
            if points:
                axes.loglog(*zip(*points, strict=True), marker="o", color=colour, label=method)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return path


def _latencies(searches: dict[int, dict[str, Any]], folder: Path) -> Iterator[Path]:
    for n, figures in sorted(searches.items()):
        path = folder / f"latency-{n}.png"
        with _picture(path, f"How long a search over {n:,} digits takes", "ms", "share of searches") as axes:
            for row in figures["rows"]:
                edges, counts = np.array(row["histogram"]["edges_ms"]), np.array(row["histogram"]["counts"])
                colour = COLOURS[row["method"]]
                axes.stairs(counts / counts.sum(), edges, color=colour, label=row["method"], fill=True, alpha=0.25)
                axes.stairs(counts / counts.sum(), edges, color=colour)
            axes.set_xscale("log")
            axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
        yield path


def _recalls(searches: dict[int, dict[str, Any]], folder: Path) -> Iterator[Path]:
    for n, figures in sorted(searches.items()):
        swept = [row for row in figures["rows"] if "sweep" in row]
        if not swept:
            continue
        path = folder / f"recall-{n}.png"
        with _picture(
            path, f"What is missed for what time, {n:,} digits", "p50, ms", "missed of the ten nearest"
        ) as axes:
            for row in swept:
                # A miss of nothing cannot be drawn on this scale; one in ten thousand stands for it.
                points = [(point["p50_ms"], max(1 - point["recall"], 1e-4)) for point in row["sweep"]]
                axes.loglog(*zip(*points, strict=True), marker=".", color=COLOURS[row["method"]], label=row["method"])
            ours = next((row for row in figures["rows"] if row["method"] == "lookalike"), None)
            if ours:
                axes.axvline(ours["p50_ms"], color=COLOURS["lookalike"], label="lookalike: misses nothing")
            axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
        yield path


def _freshness(figures: dict[str, Any], folder: Path) -> Path:
    path = folder / "freshness.png"
    with _picture(path, "From Kafka's confirmation to being searchable", "images/s that were sent", "ms") as axes:
        for clients, colour in zip(
            sorted({row["clients"] for row in figures["rows"]}), ("#0072b2", "#d55e00", "#009e73"), strict=False
        ):
            rows = [row for row in figures["rows"] if row["clients"] == clients]
            for quantile, style in (("p50_ms", "-o"), ("p99_ms", "--o")):
                label = f"{quantile[:3]}, {clients or 'no'} clients searching"
                axes.loglog(
                    [row["sent_per_s"] for row in rows],
                    [row[quantile] for row in rows],
                    style,
                    color=colour,
                    label=label,
                )
        for name, colour, label in (
            ("kafka_round_trip", "#7f7f7f", "a Kafka round trip, p50"),
            ("cassandra_write", "#b8860b", "a durable Cassandra write, p50"),
        ):
            axes.axhline(figures["floors"][name]["p50_ms"], color=colour, linestyle=":", label=label)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return path


def _stages(figures: dict[str, Any], folder: Path) -> Path:
    """Bars, since stages overlap and do not add up."""
    path = folder / "stages.png"
    stages = {
        "decode (alone)": figures["decode_us_per_image"],
        "encode (alone)": figures["encode_us_per_image"],
        "both, with the child's pipe": figures["decode_encode_child_us_per_image"],
        **{f"embedder: {name}": us for name, us in figures["rows"][0]["stages_us_per_image"].items()},
        "fold and publish": figures["fold_publish_us_per_image"],
    }
    with _picture(path, "What each stage costs an image", "µs", "") as axes:
        bars = axes.barh(list(stages), list(stages.values()), color=COLOURS["hnswlib"])
        axes.bar_label(bars, fmt="%.0f", padding=3)
        axes.invert_yaxis()
        axes.margins(x=0.1)
    return path


@contextmanager
def _picture(path: Path, title: str, x: str, y: str) -> Iterator[Any]:
    """Axes that are saved when the block ends."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure = Figure(figsize=(9, 4.5), layout="constrained", facecolor="white")
    axes = figure.subplots()
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.grid(which="major", color="#dddddd")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    yield axes
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "log":
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())
    figure.savefig(path, dpi=110)
