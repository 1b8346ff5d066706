"""Sizes as text, and what was not measured."""

import math

from bench.capacity.foretold import Foretold
from bench.capacity.plans import Load, Machine, Part, Plan
from bench.capacity.rates import Rate, Rates
from bench.capacity.sizing import CORES_SHARE, DISK_SHARE, MEMORY_SHARE, REPLICATION, image_bytes

UNMEASURED = (
    "what replication costs beyond a copy's own work: rates are of one broker and one node",
    "Cassandra's heap and compaction with more rows than were measured; its memory here is what the only node took",
    "memory of the process that builds a base, by row",
    "an exact search beyond 1,000,000 images",
    "a search with Cassandra's vector index over more rows than were measured, or over several nodes",
    "the network between machines",
)


def as_text(load: Load, machine: Machine, rates: Rates, plans: list[Plan], foretold: Foretold | None) -> str:
    """Tables for a terminal."""
    lines = [asked(load, machine, rates), ""]
    for found in plans:
        lines += _plan(found)
    lines += [as_sentence(foretold), ""]
    lines += ["(? takes a rate that was not measured, and ≥ stands where a figure is such a one)", ""]
    lines += ["measured rates, and where they stand:"]
    lines += [f"  {shown_rate(rate):>14}  {rate.what}: {rate.source}" for rate in rates.all()]
    lines += ["", "not measured:", *(f"  {what}" for what in UNMEASURED)]
    return "\n".join(lines)


def asked(load: Load, machine: Machine, rates: Rates) -> str:
    """One sentence: what is sized, and with how much headroom."""
    kept = "for ever" if load.retention_hours < 0 else f"for {load.retention_hours:g} hours"
    return (
        f"{load.images:,.0f} {rates.kind} of {shown(image_bytes(load, rates) / 1000, 1)} kB, {load.rate:,.0f} images/s, "
        f"{load.searches:,.0f} searches/s. {REPLICATION} copies; Kafka keeps images {kept}. A machine has {machine.cores} cores, "
        f"{machine.memory_gb:,.0f} GB of memory and {machine.disk_gb:,.0f} GB of disk, and {CORES_SHARE:.0%}, {MEMORY_SHARE:.0%} and "
        f"{DISK_SHARE:.0%} of them are used at most."
    )


def shown_rate(rate: Rate) -> str:
    """With its unit."""
    return "not measured" if rate.value is None else f"{rate.value:,g} {rate.unit}".strip()


def shown(figure: float, digits: int) -> str:
    """A figure, or `?` for one that takes a rate which was not measured."""
    return "?" if math.isnan(figure) else f"{figure:,.{digits}f}"


def at_least(count: int, part: Part) -> str:
    """Processes or machines of a part, `≥` where one of its figures is not known."""
    return f"{'' if part.is_known else '≥ '}{count:,}"


def as_sentence(foretold: Foretold | None) -> str:
    """How fresh images are, without a capital letter and a full stop."""
    if foretold is None:
        return "how fresh images are with so many embedders is not known: it takes what `lookalike bench simulate` and `costs` measure"
    end = "" if foretold.kept_up else ", and a queue grows"
    return (
        f"simulated with the engine exact, {foretold.images:,} images: searchable {foretold.fresh_p50_ms:,.0f} ms (p50) and "
        f"{foretold.fresh_p99_ms:,.0f} ms (p99) after they came{end}"
    )


def _plan(found: Plan) -> list[str]:
    lines = [
        f"engine {found.engine}: {'' if all(part.is_known for part in found.parts) else '≥ '}{found.machines:,} machines"
        + (", but it cannot be done so" if found.problems else "")
    ]
    lines += [f"  ! {problem}" for problem in found.problems]
    lines.append(f"  {'':12}{'machines':>10}{'processes':>11}{'cores':>10}{'memory GB':>12}{'disk GB':>14}")
    lines += [
        f"  {part.name:12}{at_least(part.machines, part):>10}{at_least(part.processes, part):>11}{shown(part.cores, 1):>10}"
        f"{shown(part.memory_gb, 1):>12}{shown(part.disk_gb, 1):>14}"
        for part in found.parts
    ]
    if found.search_ms is not None:
        said = ("one exact search", " of one core") if found.engine == "exact" else ("one search", "")
        lines.append(f"  {said[0]}: {found.search_ms:,.2f} ms{said[1]}, p50")
    lines.append(f"  partitions of the topic: {found.partitions} or more")
    lines += [f"  {way}: {shown(mb, 2)} MB/s" for way, mb in found.traffic_mb_per_s.items()]
    return [*lines, *(f"  - {note}" for note in found.notes), ""]
