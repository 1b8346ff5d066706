"""Machines, memory, disk, cores and traffic for so many images: sums and products of measured rates, so more never needs less.

A figure that takes a rate which was not measured is not a number, and machines are those that the known figures need.
"""

import math
from dataclasses import replace

from bench.capacity.plans import Load, Machine, Part, Plan
from bench.capacity.rates import Rate, Rates, without_unknown
from contract.messages import INLINE_ORIGINAL_SIZE_BYTES_MAX

ENGINES = ("exact", "cassandra")
REPLICATION = 3
# What may be used of a machine. Beyond, queues grow at every fluctuation; Cassandra writes a table anew beside the old one when it
# compacts, and an indexer a base; and what else a system keeps in memory was not measured.
CORES_SHARE, MEMORY_SHARE, DISK_SHARE = 0.6, 0.75, 0.5
# Of an embedder: its own process, and a decoder that works beside it. Of photographs up to four do (`LOOKALIKE_DECODERS`).
EMBEDDER_CORES = {"digits": 2, "photos": 5}
# At least, so that embedders can be added without adding partitions.
PARTITIONS_AN_EMBEDDER = 2
# A tail of one part in five has a base built (workers/indexer.py), so each image is merged six times on average.
TAIL_SHARE = 5
GB, MB = 1e9, 1e6


def plan(engine: str, load: Load, rates: Rates, machine: Machine) -> Plan:
    """Size one engine, "exact" or "cassandra". Processes, machines and problems are those that what is known asks for."""
    made, least = _plan(engine, load, rates, machine), _plan(engine, load, without_unknown(rates), machine)
    parts = [
        replace(part, processes=known.processes, machines=known.machines)
        for part, known in zip(made.parts, least.parts, strict=True)
    ]
    return replace(made, parts=tuple(parts), partitions=least.partitions, problems=least.problems)


def _plan(engine: str, load: Load, rates: Rates, machine: Machine) -> Plan:
    parts = [_kafka(load, rates, machine), _cassandra(engine, load, rates, machine), _embedders(load, rates, machine)]
    problems: list[str] = []
    notes = [
        f"{REPLICATION} copies of everything in Kafka and Cassandra, and each copy costs what the only one cost when it was measured"
    ]
    if engine == "exact":
        parts += _exact(load, rates, machine, problems, notes)
        search_ms: float | None = _search_ms(load, rates)
    else:
        parts.append(_api("API", load, rates, machine, cores_a_search=0.0, index_gb=0.0))
        search_ms = rates.vector_search_ms.value if load.images <= rates.vector_images_max else None
        notes.append(_of_vectors(rates))
    embedders = parts[2].processes
    return Plan(
        engine,
        tuple(parts),
        partitions=max(1, PARTITIONS_AN_EMBEDDER * embedders),
        search_ms=search_ms,
        traffic_mb_per_s=_traffic(engine, load, rates),
        problems=tuple(problems),
        notes=tuple(notes),
    )


def _of_vectors(rates: Rates) -> str:
    if not rates.vector_count:
        return "what rows and searches cost with Cassandra's vector index was not measured"
    return (
        f"what a search with Cassandra's vector index takes of its processors was measured over {rates.vector_count:,} rows alone, and "
        f"its time ({_value(rates.vector_search_ms):g} ms) and the writing of a row with at most {rates.vector_images_max:,}: with more "
        "they are not known, and what stands here is the least that it can be"
    )


def image_bytes(load: Load, rates: Rates) -> float:
    """Of one encoded image."""
    return _value(rates.image_bytes) if load.image_bytes is None else load.image_bytes


def row_bytes(load: Load, rates: Rates) -> dict[str, float]:
    """Of one image in each table, with the original where one of that size lies."""
    found = {name: _value(rate) for name, rate in rates.table_bytes.items()}
    if load.image_bytes is not None:
        measured = _value(rates.image_bytes)
        held = "records" if measured <= INLINE_ORIGINAL_SIZE_BYTES_MAX else "originals"
        holds = "records" if load.image_bytes <= INLINE_ORIGINAL_SIZE_BYTES_MAX else "originals"
        found[held] = max(0.0, found.get(held, 0.0) - measured)
        found[holds] = found.get(holds, 0.0) + load.image_bytes
    return found


def _kafka(load: Load, rates: Rates, machine: Machine) -> Part:
    kept = load.images if load.retention_hours < 0 else min(load.images, load.rate * 3600 * load.retention_hours)
    each = _value(rates.kafka_bytes) - _value(rates.image_bytes) + image_bytes(load, rates)
    return _part(
        "Kafka",
        machine,
        cores=REPLICATION * load.rate * _us(rates.image_us, "kafka"),
        memory_gb=REPLICATION * _value(rates.resident_mb["kafka"]) * MB / GB,
        disk_gb=REPLICATION * kept * each / GB,
        machines_min=REPLICATION,
    )


def _cassandra(engine: str, load: Load, rates: Rates, machine: Machine) -> Part:
    each = sum(row_bytes(load, rates).values())
    image_us, search_us, memory_each = _us(rates.image_us, "cassandra"), _us(rates.search_us, "cassandra"), 0.0
    if engine == "cassandra":
        each += _value(rates.vector_row_bytes) + _value(rates.vector_index_bytes)
        image_us += _value(rates.vector_write_us) / 1e6
        search_us += _value(rates.vector_search_us) / 1e6
        # Taken as if all of the index had to lie in memory: reading it from disk was not measured.
        memory_each = _value(rates.vector_index_bytes)
    disk_gb = REPLICATION * load.images * each / GB
    cores = REPLICATION * load.rate * image_us + load.searches * search_us
    mapped_gb = REPLICATION * load.images * memory_each / GB
    process_gb = _value(rates.resident_mb["cassandra"]) * MB / GB
    machines = max(
        REPLICATION,
        _ceil(cores / (machine.cores * CORES_SHARE)),
        _ceil(disk_gb / (machine.disk_gb * DISK_SHARE)),
        _ceil(mapped_gb / (machine.memory_gb * MEMORY_SHARE - process_gb)),
    )
    return Part("Cassandra", machines, cores, mapped_gb + machines * process_gb, disk_gb, machines)


def _embedders(load: Load, rates: Rates, machine: Machine) -> Part:
    cores = load.rate * (_us(rates.image_us, "embedder") + _us(rates.image_us, "embedder's children"))
    processes = max(1, _ceil(cores / (EMBEDDER_CORES[rates.kind] * CORES_SHARE)))
    memory_gb = processes * _value(rates.resident_mb["embedder"]) * MB / GB
    return _part("embedders", machine, cores=cores, memory_gb=memory_gb, disk_gb=0.0, processes=processes)


def _exact(load: Load, rates: Rates, machine: Machine, problems: list[str], notes: list[str]) -> list[Part]:
    """The indexer, and the API whose every machine maps the whole index."""
    index_gb = load.images * _value(rates.base_bytes) / GB
    build_us = _value(rates.base_build_us)
    following = load.rate * _us(rates.image_us, "indexer")
    merging = load.rate * (TAIL_SHARE + 1) * build_us / 1e6
    if following > CORES_SHARE:
        problems.append(
            f"one indexer, which is one core, follows {CORES_SHARE / _us(rates.image_us, 'indexer'):,.0f} images/s with headroom, and "
            f"{load.rate:,.0f} come: several collections, each with an indexer of its own, share the work"
        )
    if load.rate * build_us / 1e6 > 1 / TAIL_SHARE:
        problems.append(
            f"a base is built at {1e6 / build_us:,.0f} images/s by one core; so that the tail stays below a fifth of the images, at most "
            f"{1e6 / build_us / TAIL_SHARE:,.0f} images/s may come, and {load.rate:,.0f} do"
        )
    usable_gb = machine.memory_gb * MEMORY_SHARE
    if index_gb > usable_gb:
        problems.append(
            f"each API machine and the indexer's hold the whole index in memory: {index_gb:,.1f} GB, of which a machine may use "
            f"{usable_gb:,.1f}: take larger machines (--memory-gb), or several collections"
        )
    if load.images > rates.search_images_max:
        notes.append(
            f"the time of an exact search beyond {rates.search_images_max:,} images follows the measured growth; nobody measured it"
        )
    notes.append(
        "memory of the process that builds a base was measured with 60,000 images alone; here it is that of the base"
    )
    # One process writes an index, on one machine. The base that is built lies beside the one that is served.
    memory_gb = index_gb + _value(rates.resident_mb["indexer"]) * MB / GB
    indexer = Part("indexer", 1, following + merging, memory_gb, 2 * index_gb, 1)
    return [
        indexer,
        _api("API", load, rates, machine, cores_a_search=_search_ms(load, rates) / 1000, index_gb=index_gb),
    ]


def _api(name: str, load: Load, rates: Rates, machine: Machine, *, cores_a_search: float, index_gb: float) -> Part:
    """Each machine maps the index once, however many processes it has."""
    cores = load.searches * (_us(rates.search_us, "api") + _us(rates.search_us, "api's children") + cores_a_search)
    processes = max(1, _ceil(cores / CORES_SHARE))
    machines = max(1, _ceil(cores / (machine.cores * CORES_SHARE)))
    process_gb = _value(rates.resident_mb["api"]) * MB / GB
    return Part(name, processes, cores, machines * index_gb + processes * process_gb, machines * 2 * index_gb, machines)


def _search_ms(load: Load, rates: Rates) -> float:
    return float(_value(rates.search_ms) * (load.images / rates.search_images) ** _value(rates.search_growth))


def _traffic(engine: str, load: Load, rates: Rates) -> dict[str, float]:
    each, row = image_bytes(load, rates), sum(row_bytes(load, rates).values())
    vector = 4 * rates.dimensions
    ways = {
        "producers to Kafka": load.rate * each,
        "between Kafka brokers": (REPLICATION - 1) * load.rate * each,
        "Kafka to embedders": load.rate * each,
        "embedders to Cassandra": load.rate * (row + (vector if engine == "cassandra" else 0)),
        "between Cassandra nodes": (REPLICATION - 1) * load.rate * (row + (vector if engine == "cassandra" else 0)),
        "searches, images to the API": load.searches * each,
        "searches, answers of the API": load.searches * _value(rates.answer_bytes),
    }
    if engine == "exact":
        ways["Cassandra to the indexer"] = load.rate * _value(rates.table_bytes["feed"])
    return {name: round(bytes_ / MB, 3) for name, bytes_ in ways.items()}


def _part(
    name: str,
    machine: Machine,
    *,
    cores: float,
    memory_gb: float,
    disk_gb: float,
    machines_min: int = 1,
    processes: int | None = None,
) -> Part:
    machines = max(
        machines_min,
        _ceil(cores / (machine.cores * CORES_SHARE)),
        _ceil(memory_gb / (machine.memory_gb * MEMORY_SHARE)),
        _ceil(disk_gb / (machine.disk_gb * DISK_SHARE)),
    )
    return Part(name, machines if processes is None else processes, cores, memory_gb, disk_gb, machines)


def _us(rates: dict[str, Rate], name: str) -> float:
    """Seconds of processor time."""
    return _value(rates[name]) / 1e6


def _value(rate: Rate) -> float:
    return math.nan if rate.value is None else rate.value


def _ceil(share: float) -> int:
    """What is not known adds nothing."""
    return 0 if math.isnan(share) else math.ceil(round(share, 9))
