"""`lookalike watches list | add | remove | follow`: asks a running API, as its users do."""

import argparse
import dataclasses
import json
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from api.filter_option import parsed_filter
from contract.errors import LookalikeError
from runtime.command_line import Verb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from contract.settings import Settings
    from lookalike_client import Client, Matched, Watched


def _add_url(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--url", help="the API's address (default: from LOOKALIKE_API_HOST and _PORT)")
    verb.add_argument("--collection", default="default", metavar="NAME", help="the collection that is watched")
    verb.add_argument("--json", action="store_true", help="one JSON object a line")


def _add_add(add: argparse.ArgumentParser) -> None:
    what = add.add_mutually_exclusive_group(required=True)
    what.add_argument("file", nargs="?", type=Path, help="an image file")
    what.add_argument("--id", help="an image of the gallery instead")
    add.add_argument("--max-distance", type=float, required=True, help="how far a match may be away")
    add.add_argument("--filter", help="only images whose metadata match: JSON in Qdrant's form")
    add.add_argument("--name", default="", help="what people call the watch")
    add.add_argument("--webhook", default="", help="an address that every match is posted to")
    _add_url(add)


def _add_remove(remove: argparse.ArgumentParser) -> None:
    remove.add_argument("id", nargs="+", help="the watch's id, as `list` shows it")
    _add_url(remove)


def _add_follow(follow: argparse.ArgumentParser) -> None:
    follow.add_argument("id", nargs="?", help="the watch's id; without it all of them")
    _add_url(follow)


@contextmanager
def _asked(settings: "Settings", options: argparse.Namespace) -> "Iterator[Client]":
    from lookalike_client import ApiError, Client

    try:
        yield Client(options.url or settings.api_address, collection=options.collection)
    except ApiError as error:
        raise LookalikeError(str(error)) from error


def _list(settings: "Settings", options: argparse.Namespace) -> int:
    with _asked(settings, options) as client:
        found = client.watches()
    for watched in found:
        _tell(watched, _line(watched), options)
    print(f"{len(found)} watch{'' if len(found) == 1 else 'es'}", file=sys.stderr)
    return 0


def _add(settings: "Settings", options: argparse.Namespace) -> int:
    try:
        query = options.id if options.file is None else options.file.read_bytes()
    except OSError as error:
        raise LookalikeError(f"{options.file} cannot be read: {error.strerror}.") from error
    with _asked(settings, options) as client:
        made = client.watch(
            query,
            max_distance=options.max_distance,
            filter=parsed_filter(options.filter),
            name=options.name,
            webhook=options.webhook,
        )
    _tell(made, _line(made), options)
    if made.webhook and not options.json:
        print(f"secret of its signatures, shown only now: {made.secret}")
    return 0


def _remove(settings: "Settings", options: argparse.Namespace) -> int:
    with _asked(settings, options) as client:
        for watch_id in options.id:
            client.remove_watch(watch_id)
            print(f"removed {watch_id}", file=sys.stderr)
    return 0


def _follow(settings: "Settings", options: argparse.Namespace) -> int:
    with _asked(settings, options) as client:
        for matched in client.follow_matches(watch_id=options.id):
            _tell(matched, f"{matched.watch}  {matched.distance:.4f}  {matched.image}", options)
    return 0


def _line(watched: "Watched") -> str:
    return f"{watched.id}  within {watched.max_distance:g}"


def _tell(told: "Watched | Matched", line: str, options: argparse.Namespace) -> None:
    """Print a watch or a match, whole as JSON or as a line with its name behind it."""
    if options.json:
        line = json.dumps(dataclasses.asdict(told), ensure_ascii=False)
    elif told.name:
        line += f"  {told.name}"
    print(line, flush=True)


WATCHES_VERB = Verb(
    name="watches",
    summary="be told of images that match: list, add and remove watches, follow what matches",
    epilog="Example: %(prog)s add photo.jpg --max-distance 6 --name 'our logo'",
    verbs=(
        Verb(
            name="list",
            summary="show all watches",
            run=_list,
            add_arguments=_add_url,
            epilog="Example: %(prog)s --json",
        ),
        Verb(
            name="add",
            summary="be told of every image that matches from now on",
            run=_add,
            add_arguments=_add_add,
            epilog="Example: %(prog)s photo.jpg --max-distance 6 --name 'our logo'",
        ),
        Verb(
            name="remove",
            summary="delete watches",
            run=_remove,
            add_arguments=_add_remove,
            epilog="Example: %(prog)s 0123456789abcdef0123456789abcdef",
        ),
        Verb(
            name="follow",
            summary="print what matches, until Ctrl-C",
            run=_follow,
            add_arguments=_add_follow,
            epilog="Example: %(prog)s --json | jq .image",
        ),
    ),
)
