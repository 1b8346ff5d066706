"""docs/capacity.md: sizes of a million to 10⁹ images, the rates that they are made of, and what was not measured."""

import textwrap
from typing import Any

from bench.capacity.foretold import foretell
from bench.capacity.plans import Load, Machine, Plan
from bench.capacity.rates import KINDS, Rates, Results, load_rates
from bench.capacity.sizing import CORES_SHARE, DISK_SHARE, ENGINES, MEMORY_SHARE, REPLICATION, plan
from bench.capacity.text import UNMEASURED, as_sentence, at_least, shown, shown_rate

MACHINE = Machine(16, 128.0, 4000.0)
IMAGES = (1e6, 1e7, 1e8, 1e9)
# Images and searches a second: a quiet gallery, and a busy one.
LOADS = ((100.0, 10.0), (2000.0, 500.0))
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def page(results: dict[str, dict[str, Any]]) -> str:
    """The whole page, as markdown."""
    parts = [
        "# Capacity",
        _wrapped(
            "How many machines so many images need. Every size is made of rates that were measured, and the last tables say where each "
            "stands and what nobody has measured. This page is written by a command; change it there:"
        ),
        "```\nlookalike capacity --page > docs/capacity.md\nlookalike capacity --images 1e9 --rate 2000 --searches 500 --kind photos\n```",
        "## Sizes",
        _wrapped(
            f"A machine has {MACHINE.cores} cores, {MACHINE.memory_gb:g} GB of memory and {MACHINE.disk_gb:,.0f} GB of disk; "
            f"`--cores`, `--memory-gb` and `--disk-gb` name others. At most {CORES_SHARE:.0%} of its cores, {MEMORY_SHARE:.0%} of its memory "
            f"and {DISK_SHARE:.0%} of its disk are used. Kafka and Cassandra hold {REPLICATION} copies, and Kafka keeps images for ever. "
            "Cores are those in use, without headroom. Machines of Kafka, Cassandra, embedders, indexer and API are counted apart, so "
            "small sizes need fewer where they share one. Two engines: *exact* has the whole index in the memory of the indexer's and of "
            "every API machine, and *cassandra* asks Cassandra's own vector index, and holds nothing for each image in its API. A figure "
            "that takes a rate which was not measured is `?`, and `≥` stands before machines of which such a figure may ask for more."
        ),
    ]
    found = {kind: load_rates(results, kind) for kind in KINDS}
    for kind, rates in found.items():
        for rate, searches in LOADS:
            parts.append(f"### {kind.capitalize()}{_size_of(rates)}, {rate:,.0f} images/s, {searches:,.0f} searches/s")
            parts += _sizes(rates, rate, searches)
            parts.append(_wrapped(_fresh(results, rates, Load(IMAGES[0], rate, searches))))
    if "simulate" in results:
        parts += ["## The simulated pipeline", *_simulated(results["simulate"])]
    parts.append("## Rates")
    for kind, rates in found.items():
        parts += [f"### Of {kind}", _rates(rates)]
    parts += ["## What was not measured", "\n".join(_wrapped(f"- {what}", "  ") for what in UNMEASURED)]
    return "\n\n".join(parts) + "\n"


def _sizes(rates: Rates, rate: float, searches: float) -> list[str]:
    """A table of both engines, and below it what cannot be."""
    lines = [
        "| images | engine | machines | Kafka | Cassandra | embedders | indexer | API | cores | memory GB | disk TB | one search | |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    problems: list[str] = []
    for images in IMAGES:
        for engine in ENGINES:
            made = plan(engine, Load(images, rate, searches), rates, MACHINE)
            marks = []
            for problem in made.problems:
                sentence = problem[0].upper() + problem[1:] + "."
                if sentence not in problems:
                    problems.append(sentence)
                marks.append(str(problems.index(sentence) + 1))
            lines.append(_size(images, made, f"no: {', '.join(marks)}" if marks else ""))
    listed = "\n".join(_wrapped(f"{number}. {problem}", "   ") for number, problem in enumerate(problems, 1))
    return ["\n".join(lines), *([listed] if listed else [])]


def _fresh(results: Results, rates: Rates, load: Load) -> str:
    """The rate of images decides, not how many there are."""
    made = plan("exact", load, rates, MACHINE)
    (embedders,) = (part for part in made.parts if part.name == "embedders")
    count = at_least(embedders.processes, embedders)
    text = as_sentence(foretell(made, load, rates, MACHINE, results))
    return f"Embedders: {count}. Partitions: {made.partitions:,} or more. Indexers of the engine exact: 1. {text[0].upper()}{text[1:]}."


def _simulated(figures: dict[str, Any]) -> list[str]:
    """What was measured with one, two and three embedders beside what the simulation says."""
    lines = ["| embedders | cores that others left | measured | simulated | off by |", "|---|---|---|---|---|"]
    for row in figures["rows"]:
        off = "calibrated with it" if row["is_calibration"] and row["off"] == 0 else f"{row['off']:+.0%}"
        lines.append(
            f"| {row['method']} | {row['cores']:g} | {row['measured']:,.4g} {row['what']} | {row['predicted']:,.4g} | {off} |"
        )
    machine = figures["machine"]
    text = (
        f"`{figures['command']}` on {machine['cores']} cores ({machine['cpu']}), load {machine['load_average_1_min']:g} when it began. "
        "What programs cost is calibrated with one embedder alone: for each of them so much for an image and so much for a batch or a "
        "generation, from their processor times at full speed and at steady rates, what an image waits, so that one "
        "embedder is as fast as it was at full speed, and what a batch waits, so that it is as fresh as it was at the lowest rate. Two and three embedders are foretold. All programs share the cores that other work "
        f"left in the round. The farthest that two or three are off is {figures['farthest_off']:.0%}; 20% is wanted."
    )
    return [_wrapped(text), "\n".join(lines)]


def _size(images: float, made: Plan, mark: str) -> str:
    parts = {part.name: part for part in made.parts}
    name = "10" + str(len(f"{images:.0f}") - 1).translate(_SUPERSCRIPTS)
    machines = [
        at_least(parts[each].machines, parts[each]) if each in parts else ""
        for each in ("Kafka", "Cassandra", "embedders", "indexer", "API")
    ]
    mark_all = "" if all(part.is_known for part in made.parts) else "≥ "
    cells = [
        name,
        made.engine,
        f"{mark_all}{made.machines:,}",
        *machines,
        shown(sum(part.cores for part in made.parts), 1),
        shown(sum(part.memory_gb for part in made.parts), 0),
        shown(sum(part.disk_gb for part in made.parts) / 1000, 2),
        _searched(made.search_ms),
        mark,
    ]
    return f"| {' | '.join(cells)} |"


def _searched(ms: float | None) -> str:
    if ms is None:
        return "not measured"
    return f"{ms:,.3g} ms" if ms < 1000 else f"{ms / 1000:,.3g} s"


def _size_of(rates: Rates) -> str:
    return "" if rates.image_bytes.value is None else f" of {rates.image_bytes.value / 1000:.3g} kB"


def _rates(rates: Rates) -> str:
    lines = ["| rate | | where it stands |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {rate.what} | {shown_rate(rate)} | {rate.source} |" for rate in rates.all())])


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(text, 100, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
