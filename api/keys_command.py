"""`lookalike keys create | list | revoke`: changes the file of keys, which every running API follows."""

import argparse
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from contract.errors import LookalikeError
from runtime.command_line import Verb

if TYPE_CHECKING:
    from api.access.key_file import KeyFile
    from api.access.keys import Scope, StoredKey
    from contract.settings import Settings

_CREATE = """examples:
  %(prog)s page --scopes search,publish,admin
  %(prog)s shop --scopes search --collections shoes,hats --per-minute 600
  %(prog)s me --scopes search,publish --to ~/.lookalike-key
"""


def _add_create(create: argparse.ArgumentParser) -> None:
    create.add_argument("name", help="what people call it; of two keys in use, no two have the same")
    create.add_argument("--scopes", required=True, help="what it may do, separated by commas: search, publish, admin")
    create.add_argument("--collections", help="the only collections that it is for, separated by commas (default all)")
    create.add_argument(
        "--per-minute", type=int, help="requests that each API process answers in a minute (default any number)"
    )
    create.add_argument(
        "--to",
        type=Path,
        metavar="FILE",
        help="write it to this new file, readable by you alone, instead of printing it",
    )
    create.add_argument("--if-none", action="store_true", help="only if there never was a key")


def _add_list(listed: argparse.ArgumentParser) -> None:
    listed.add_argument("--json", action="store_true", help="one JSON object a line")


def _add_revoke(revoke: argparse.ArgumentParser) -> None:
    revoke.add_argument("key", nargs="+", help="its id or its name, as `list` shows them")


def _create(settings: "Settings", options: argparse.Namespace) -> int:
    from api.access.key_file import write_secret
    from api.access.keys import new_key
    from contract.collections import check_collection_name

    file = _file(settings)
    if options.if_none and file.current().are_needed:
        print(f"There are keys in {file.path} already; none was made.", file=sys.stderr)
        return 0
    scopes = _scopes(options.scopes)
    collections = None if options.collections is None else options.collections.split(",")
    for name in collections or ():
        check_collection_name(name)
    if options.per_minute is not None and options.per_minute < 1:
        raise LookalikeError(f"--per-minute is {options.per_minute}, expected at least 1.")
    if not options.name.strip() or not options.name.isprintable():
        raise LookalikeError(f"The name is {options.name!r}, expected some text without control characters.")
    key, stored = new_key(
        options.name, scopes, collections=collections, per_minute=options.per_minute, now_ms=time.time_ns() // 1_000_000
    )

    def add(keys: "list[StoredKey]") -> "list[StoredKey]":
        if any(options.name in (each.name, each.id) and each.revoked_at_ms is None for each in keys):
            raise LookalikeError(f"There is a key {options.name!r} already. Choose another name, or revoke that one.")
        if options.to is not None:
            write_secret(options.to.expanduser(), f"{key}\n")
        return [*keys, stored]

    file.change(add)
    if options.to is None:
        print(key)
    where = "It is shown this once" if options.to is None else f"It is in {options.to}"
    print(
        f"The key {stored.id} ({stored.name}) opens {_told(stored)}. {where}; only its hash is kept.", file=sys.stderr
    )
    return 0


def _list(settings: "Settings", options: argparse.Namespace) -> int:
    file = _file(settings)
    keyring = file.current()
    for key in keyring.keys:
        if options.json:
            print(json.dumps(_as_json(key), ensure_ascii=False))
        else:
            state = f"revoked {_date(key.revoked_at_ms)}" if key.revoked_at_ms else f"since {_date(key.created_at_ms)}"
            print(f"{key.id}  {key.name:<20}  {_told(key)}  {state}")
    if not keyring.are_needed:
        print(f"There is no key in {file.path}: the API answers on loopback only, and anybody there.", file=sys.stderr)
    return 0


def _revoke(settings: "Settings", options: argparse.Namespace) -> int:
    import msgspec

    file = _file(settings)
    now_ms = time.time_ns() // 1_000_000

    def revoke(keys: "list[StoredKey]") -> "list[StoredKey]":
        meant = {each.id for each in keys if each.revoked_at_ms is None and {each.id, each.name} & set(options.key)}
        known = {text for each in keys if each.id in meant for text in (each.id, each.name)}
        if unknown := [text for text in options.key if text not in known]:
            raise LookalikeError(f"No key in use is called {unknown[0]!r}. See: lookalike keys list")
        return [msgspec.structs.replace(each, revoked_at_ms=now_ms) if each.id in meant else each for each in keys]

    file.change(revoke)
    print(f"{', '.join(options.key)}: opens nothing any more, in every running API.", file=sys.stderr)
    return 0


def _file(settings: "Settings") -> "KeyFile":
    from api.access.key_file import KeyFile

    return KeyFile(settings.keys_file)


def _scopes(text: str) -> "list[Scope]":
    from api.access.keys import SCOPE_MEANINGS

    wanted = text.split(",")
    found = [scope for scope in SCOPE_MEANINGS if scope in wanted]
    if wrong := [each for each in wanted if each not in found]:
        meanings = "; ".join(f"{scope}: {meaning}" for scope, meaning in SCOPE_MEANINGS.items())
        raise LookalikeError(f"There is no scope {wrong[0]!r}. There are {meanings}.")
    return found


def _told(key: "StoredKey") -> str:
    of = "all collections" if key.collections is None else ", ".join(sorted(key.collections))
    rate = "" if key.per_minute is None else f", {key.per_minute} times a minute"
    return f"{', '.join(sorted(key.scopes))} in {of}{rate}"


def _as_json(key: "StoredKey") -> dict[str, object]:
    """All but the hash."""
    return {
        "id": key.id,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "collections": None if key.collections is None else sorted(key.collections),
        "per_minute": key.per_minute,
        "created_at": key.created_at_ms,
        "revoked_at": key.revoked_at_ms,
    }


def _date(time_ms: int | None) -> str:
    return datetime.fromtimestamp((time_ms or 0) / 1000, UTC).isoformat(timespec="seconds")


KEYS_VERB = Verb(
    name="keys",
    summary="make, list and revoke the keys that open the API",
    epilog="Example: %(prog)s create page --scopes search,publish,admin",
    verbs=(
        Verb(
            name="create", summary="make a key and show it once", run=_create, add_arguments=_add_create, epilog=_CREATE
        ),
        Verb(
            name="list",
            summary="all keys, also revoked ones, without their secrets",
            run=_list,
            add_arguments=_add_list,
            epilog="Example: %(prog)s --json",
        ),
        Verb(
            name="revoke",
            summary="have keys open nothing any more, at once",
            run=_revoke,
            add_arguments=_add_revoke,
            epilog="Example: %(prog)s shop",
        ),
    ),
)
