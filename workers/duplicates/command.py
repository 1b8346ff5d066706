"""`lookalike duplicates`: one run, and what it found on stdout."""

import argparse
import csv
import json
import sys
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime

from contract.errors import LookalikeError
from contract.settings import Settings
from gallery.collections import indexed_settings
from gallery.duplicates.found import CLASSES, NOBODY, Duplicate, DuplicateGroup, FoundDuplicates
from gallery.generations.reader import Reader
from gallery.generations.serving import ServingFile
from model.encoder import load_encoder
from runtime.priority import BACKGROUND, give_way
from workers.duplicates.program import run_duplicates

COLUMNS = ("group", "class", "place", "id", "of", "distance", "width", "height", "size_bytes", "kafka_time", "edits")


def find_duplicates(settings: Settings, options: argparse.Namespace) -> int:
    """Search the collection that the options name; returns the exit status."""
    if options.background:
        give_way(BACKGROUND)
    settings = indexed_settings(settings, options.collection)
    if settings.engine != "exact":
        raise LookalikeError(
            "Duplicates are looked for in an index in memory: this collection's engine is cassandra. Create one with the engine exact."
        )
    name = ServingFile(settings.index_dir, settings.encoder).current().encoder
    reader = Reader(settings.index_dir / name, fingerprint=None)
    snapshot = reader.current()
    if snapshot is None:
        raise LookalikeError(
            reader.refused or f"There is no index in {settings.index_dir / name}. Start one: python -m workers indexer"
        )
    found = run_duplicates(
        settings,
        snapshot,
        load_encoder(name, settings.encoders_dir),
        max_distance=options.max_distance,
        judged_max=options.verdicts,
        is_quiet=options.background,
    )
    if options.background:
        return 0
    groups = [group for group in found.groups if not (options.copies_only and group.kind == "near")]
    if options.json:
        for number, group in enumerate(groups):
            print(json.dumps(_as_json(number, group), ensure_ascii=False))
    elif options.csv:
        _print_csv(groups)
    else:
        _print_groups(found, groups)
    return 0


def _as_json(number: int, group: DuplicateGroup) -> dict[str, object]:
    images = [dict(zip(COLUMNS[2:], _row(group, place), strict=True)) for place in range(len(group.members))]
    return {"group": number, "class": group.kind, "images": images}


def _print_csv(groups: Iterable[DuplicateGroup]) -> None:
    table = csv.writer(sys.stdout)
    table.writerow(COLUMNS)
    for number, group in enumerate(groups):
        for place in range(len(group.members)):
            table.writerow([number, group.kind, *_row(group, place)])


def _row(group: DuplicateGroup, place: int) -> list[object]:
    image = group.members[place]
    of = "" if image.of == NOBODY else group.members[image.of].id
    return [
        place, image.id, of, round(image.distance, 6), image.width, image.height, image.size_bytes,
        _time(image), _edits(image),
    ]  # fmt: skip


def _print_groups(found: FoundDuplicates, groups: list[DuplicateGroup]) -> None:
    for group in groups:
        print(f"{group.kind}, {len(group.members)} images")
        for image in group.members:
            mark = "*" if image.of == NOBODY else " "
            told = f"{image.width} x {image.height}, {image.size_bytes:,} bytes, {_time(image)}"
            print(f"  {mark} {image.id}   {told}" + ("" if image.of == NOBODY else f", at {image.distance:.3f}"))
            if image.judgement:
                print(
                    f"      {'it was made of this' if image.judgement.is_reversed else 'made of it'}: {_edits(image) or 'copied'}"
                )
    counts = Counter(group.kind for group in groups)
    extra = Counter(dict.fromkeys(CLASSES, 0))
    for group in groups:
        extra[group.kind] += len(group.members) - 1
    for kind in CLASSES:
        if counts[kind]:
            print(f"{kind:14} {counts[kind]:8,} groups, {extra[kind]:8,} images beside the best ones (*)")
    print(
        f"{found.count:,} images of generation {found.generation} compared within {found.max_distance:g} in {found.took_s:.1f} s"
        + (f"; {found.unjudged:,} pairs wait for verdicts: run it again" if found.unjudged else "")
        + (f"; {found.unknown:,} images have no record and were compared by embedding alone" if found.unknown else "")
        + "."
    )


def _time(image: Duplicate) -> str:
    return datetime.fromtimestamp(image.kafka_time_ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _edits(image: Duplicate) -> str:
    if not image.judgement:
        return ""
    return ", ".join(f"{name} {amount:.3g} {unit}".strip() for name, amount, unit in image.judgement.edits)
