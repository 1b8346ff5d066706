"""`lookalike backup` and `lookalike restore`: what they print."""

import argparse
import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.command_line import Verb

if TYPE_CHECKING:
    from contract.settings import Settings
    from gallery.backup.files import BackupManifest


def _add_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("folder", type=Path, metavar="FOLDER", help="folder of the backup")
    verb.add_argument("--json", action="store_true", help="print what it holds as JSON")


def _backup(settings: "Settings", options: argparse.Namespace) -> int:
    from gallery.backup.backing_up import back_up
    from gallery.store.store import Store

    with closing(Store.connect(settings)) as store:
        manifest = back_up(settings, store, options.folder)
    _tell(manifest, as_json=options.json)
    if not options.json:
        print(f"Backed up into {options.folder}. Restore it into empty servers: lookalike restore {options.folder}")
    return 0


def _restore(settings: "Settings", options: argparse.Namespace) -> int:
    from gallery.backup.restoring import restore_backup
    from gallery.store.store import Store

    with closing(Store.connect(settings)) as store:
        manifest = restore_backup(settings, store, options.folder)
    _tell(manifest, as_json=options.json)
    if not options.json:
        told = ", ".join(f"{name}: {encoder}" for name, encoder in sorted(manifest.encoders.items()))
        print(f"Restored. Start our programs: lookalike up. The index is built anew. What answered was {told}.")
    return 0


def _tell(manifest: "BackupManifest", *, as_json: bool) -> None:
    import msgspec

    from gallery.backup.restoring import backup_counts

    if as_json:
        print(json.dumps(msgspec.to_builtins(manifest), indent=2))
        return
    for name, count, size_bytes in backup_counts(manifest):
        print(f"{name:<40} {count:>12,} {size_bytes:>16,} bytes")


BACKUP = Verb(
    name="backup",
    summary="write all that Cassandra holds, and what Kafka holds beside it, into a folder; everything goes on meanwhile",
    run=_backup,
    add_arguments=_add_options,
    epilog="Example: %(prog)s /backups/2026-01-31",
    interrupted="Stopped; what was written is no backup.",
)
RESTORE = Verb(
    name="restore",
    summary="write a backup into empty servers, while our programs are stopped",
    run=_restore,
    add_arguments=_add_options,
    epilog="Example: %(prog)s /backups/2026-01-31",
    interrupted="Stopped; nothing of it is served. Run it again, after lookalike wipe if it says so.",
)
