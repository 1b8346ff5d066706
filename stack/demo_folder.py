"""The demo with a person's own pictures: they are published, become searchable, and are found although altered."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from contract.errors import ConfigurationError, DependencyError
from contract.settings import Settings
from lookalike_client import ApiError, Client
from lookalike_client.table import neighbours_table
from producers.folder import Folder, Look, Manner
from producers.left_out import count_kinds, in_words
from producers.state import FolderState
from producers.walk import FoundFile
from stack.alterations import altered
from stack.demo import DIGITS, check_count, show_digits
from stack.demo_collections import demo_collection
from stack.demo_steps import publish_and_follow, running_stack, stay
from stack.process import last_lines
from topics.rejected import NEWEST_MAX

PHOTOS = "photos"
_ENCODER = "photo"
_QUERIES = 5
_NEIGHBOURS = 5
_PLACES = 10
_NAMES_SHOWN_MAX = 5


def demo_folder(settings: Settings, folder: str, images: int, ends: bool) -> int:
    """Publish a folder's pictures, search five of them altered, show digits beside them, and stay until Ctrl-C unless `ends`.

    The pictures are in the collection `photos`; those of another folder in a collection of their own. Run again, it publishes
    what is new or changed, and deletes what has left.

    Args:
        images: digits that are shown in the collection `digits`; 0 for none.

    Returns:
        The exit status: 0 when the searches were shown, 130 after a Ctrl-C before that.

    Raises:
        ConfigurationError, StartError, DependencyError: what went wrong and what to do.
    """
    if images:
        check_count(images)
    path = os.path.abspath(os.path.expanduser(folder))
    look = _look(path)
    ids = [each.image_id for each in look.due if isinstance(each, FoundFile)]
    print(f"{path!r} holds {len(ids):,} pictures. {_left_out(count_kinds(look.left_out))}".rstrip(), flush=True)
    tell_earlier(settings, path)
    name, state = collection_of(settings, path)
    with running_stack(settings) as watcher:
        own = demo_collection(settings, name, _ENCODER)
        arguments = ["folder", path, "--state", str(state), "--delete", "--json"]
        api = Client(settings.api_address, collection=name)
        publish_and_follow(own, api, arguments, len(ids), watcher, _count)
        _tell_refused(api, set(ids))
        _search_altered(api, ids)
        if images:
            print(f"\nAnd beside them {images:,} digits, in the collection {DIGITS}.", flush=True)
            show_digits(settings, images, watcher)
        stay(settings, name, watcher, ends=ends)
    return 0


def tell_earlier(settings: Settings, path: str) -> None:
    """Say so where an earlier version published the folder, to a topic and a keyspace of its own: nothing reads those any more."""
    real = os.fsencode(os.path.realpath(path))
    digest = hashlib.sha256(f"{settings.kafka_topic}\0".encode() + real).hexdigest()[:12]
    earlier = settings.var_dir / "demo" / digest
    if earlier.exists():
        print(
            f"An earlier version kept this folder in {earlier}, the topic {settings.kafka_topic[:180]}-{digest} and the keyspace "
            f"{settings.cassandra_keyspace[:35]}_{digest}. It is published anew; delete those, or everything: lookalike wipe",
            flush=True,
        )


def _look(path: str) -> Look:
    """What the folder holds, before anything is started for it."""
    if not os.path.exists(path):
        raise ConfigurationError(f"FOLDER={path!r}: there is no such folder. Name one that holds pictures.")
    if not os.path.isdir(path):
        raise ConfigurationError(f"FOLDER={path!r} is a file. Name the folder that holds it.")
    look = Folder(path, FolderState(None, path, ""), Manner()).look()
    if not any(isinstance(each, FoundFile) for each in look.due):
        found = _left_out(count_kinds(look.left_out)) or "It is empty."
        raise ConfigurationError(f"FOLDER={path!r} holds no pictures. {found}")
    return look


def collection_of(settings: Settings, path: str) -> tuple[str, Path]:
    """The collection of a folder, and the file that remembers what is in it: `photos` belongs to the first folder that comes."""
    real = os.path.realpath(path)
    digest = hashlib.sha256(os.fsencode(real)).hexdigest()[:12]
    folder = settings.var_dir.resolve() / "demo"
    for name in (PHOTOS, f"{PHOTOS}-{digest}"):
        state = folder / f"{name}.json"
        try:
            owner = str(json.loads(state.read_bytes())["folder"])
        except FileNotFoundError:
            return name, state
        except (OSError, ValueError, TypeError, KeyError):
            continue  # it is damaged: whose the collection is, nobody can tell
        if os.path.realpath(owner) == real:
            return name, state
    raise ConfigurationError(f"{state} is no state file. Delete it to publish everything again.")


def _count(status: int, log: Path) -> int:
    """Records that the producer sent; says what it could not publish."""
    try:
        report = json.loads(log.read_text(errors="replace").splitlines()[-1])
        stopped_by = report["stopped_by"]
    except (IndexError, ValueError, TypeError, KeyError):
        stopped_by = f"it ended with status {status}"
    if stopped_by:
        raise DependencyError("kafka", f"the producer failed. Its last lines ({log}):\n{last_lines(log)}")
    failed = [f"{each['name']!r}: {each['reason']}" for each in report["failed"]]
    _tell_some("could not be published", failed)
    _tell_some("have names that cannot be ids; theirs are", [f"{made!r}" for made in report["renamed"].values()])
    return int(report["confirmed"]) + int(report["deleted"])


def _tell_refused(api: Client, ids: set[str]) -> None:
    refused = {each["key"]: each["reason"] for each in api.rejected(NEWEST_MAX) if each["key"] in ids}
    _tell_some("could not be decoded", [f"{image_id!r}: {reason}" for image_id, reason in refused.items()])


def _tell_some(what: str, names: list[str]) -> None:
    if names:
        more = f", … and {len(names) - _NAMES_SHOWN_MAX:,} more" if len(names) > _NAMES_SHOWN_MAX else ""
        print(f"\n{len(names):,} {what}: {', '.join(names[:_NAMES_SHOWN_MAX])}{more}.", flush=True)


def _search_altered(api: Client, ids: list[str]) -> None:
    """Search five pictures, or one in five ways where there are no more, and say at which place each was found."""
    originals = list(_some_originals(api, ids))
    if not originals:
        raise DependencyError("api", "none of the pictures could be decoded. See `python -m workers rejected list`.")
    first = 0
    for number in range(_QUERIES):
        image_id, value = originals[number % len(originals)]
        words, query = altered(value, number)
        answer = api.search(query, k=_PLACES)
        found = next((match for match in answer.matches if match.id == image_id), None)
        # A copy of it in the folder is as near, and is no better answer.
        place = None if found is None else 1 + sum(match.distance < found.distance for match in answer.matches)
        first += place == 1
        outcome = (
            f"found at place {place}, distance {found.distance:.4f}" if found else f"not among the {_PLACES} nearest"
        )
        print(f"\n{number + 1}. {image_id!r} {words}: {outcome}")
        print(neighbours_table(answer, _NEIGHBOURS), flush=True)
    print(f"\n{first} of {_QUERIES} altered pictures found the one that they were made of first.", flush=True)


def _some_originals(api: Client, ids: list[str]) -> Iterator[tuple[str, bytes]]:
    """Up to five pictures that are in the gallery and can be altered, from all over the folder."""
    step = max(1, len(ids) // _QUERIES)
    spread = ids[step // 2 :: step][:_QUERIES]
    found = 0
    for image_id in dict.fromkeys([*spread, *ids]):
        try:
            value = api.original(image_id)
            altered(value, 0)
        except ApiError as error:
            if error.status != 404:
                raise
            continue
        except Exception:  # noqa: BLE001 - Pillow raises nearly anything; another picture will do
            continue
        yield image_id, value
        found += 1
        if found == _QUERIES:
            return


def _left_out(counts: dict[str, int]) -> str:
    return f"Left out: {in_words(counts)}." if counts else ""
