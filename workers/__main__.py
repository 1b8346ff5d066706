"""python -m workers embedder | indexer | watcher | audit | verify | rejected | duplicates"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from runtime.command_line import Program, Verb, run_program
from workers.audit.command import VERIFY

if TYPE_CHECKING:
    from contract.settings import Settings

_EXAMPLE = """example:
  python -m workers embedder --slot 1
  python -m workers rejected list
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done or told to stop, 1 failed, 130 stopped by Ctrl-C."""
    program = Program(
        prog="python -m workers",
        description="Move images from Kafka into Cassandra and from there into the index.",
        epilog=_EXAMPLE,
        verbs=VERBS,
    )
    return run_program(program, arguments)


def _add_embedder(embedder: argparse.ArgumentParser) -> None:
    embedder.add_argument(
        "--slot",
        type=int,
        default=0,
        help="number of this embedder among those that run on this machine; each needs its own (default 0)",
    )
    embedder.add_argument(
        "--collections",
        metavar="all|A,B",
        help="collections to embed: all, also those created later, or these (default: the setting LOOKALIKE_COLLECTIONS)",
    )
    embedder.add_argument(
        "--from-store",
        action="store_true",
        help="embed stored originals of one collection that Kafka holds no longer and its encoder's feed lacks, then end; "
        "run it before the embedder",
    )
    _add_collection(embedder, help="with --from-store: the collection (default: default)")


def _add_indexer(indexer: argparse.ArgumentParser) -> None:
    indexer.add_argument("--rebuild", action="store_true", help="start a new index although the current one is good")
    indexer.add_argument(
        "--collections",
        metavar="all|A,B",
        help="collections to index: all, also those created later, or these (default: the setting LOOKALIKE_COLLECTIONS)",
    )


def _add_collection(verb: argparse.ArgumentParser, help: str = "collection of the messages (default: default)") -> None:
    verb.add_argument("--collection", metavar="NAME", default="default", help=help)


def _add_list(listed: argparse.ArgumentParser) -> None:
    _add_collection(listed)
    listed.add_argument("--json", action="store_true", help="one JSON object a line")


def _add_show(show: argparse.ArgumentParser) -> None:
    show.add_argument("place", type=_place, metavar="P:O", help="partition and offset of the original")
    _add_log(show)
    _add_collection(show)
    show.add_argument("--save", type=Path, metavar="FILE", help="write the value here")


def _add_replay(replay: argparse.ArgumentParser) -> None:
    replay.add_argument("place", type=_place, nargs="+", metavar="P:O", help="partition and offset of the original")
    _add_log(replay)
    _add_collection(replay)


def _add_log(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--log", help="log of the original, where the topic was created more than once")


def _place(text: str) -> tuple[int, int]:
    partition, _, offset = text.partition(":")
    return int(partition), int(offset)


def _embedder(settings: "Settings", options: argparse.Namespace) -> int:
    _configure_logging("stdout")
    if options.from_store:
        from workers.embedder.restore import run as restore

        return restore(settings, options.collection)
    from contract.collections import chosen_collections
    from workers.embedder.program import run

    return run(settings, slot=options.slot, collections=chosen_collections(options.collections or settings.collections))


def _indexer(settings: "Settings", options: argparse.Namespace) -> int:
    _configure_logging("stdout")
    from contract.collections import chosen_collections
    from workers.indexer_program import run

    chosen = chosen_collections(options.collections or settings.collections)
    return run(settings, rebuild=options.rebuild, collections=chosen)


def _watcher(settings: "Settings", _: argparse.Namespace) -> int:
    _configure_logging("stdout")
    from workers.watcher.program import run

    return run(settings)


def _audit(settings: "Settings", _: argparse.Namespace) -> int:
    _configure_logging("stdout")
    from workers.audit.program import run

    return run(settings)


def _list(settings: "Settings", options: argparse.Namespace) -> int:
    _configure_logging("stderr")
    from workers.rejected import list_rejected

    return list_rejected(_of_collection(settings, options), as_json=options.json)


def _show(settings: "Settings", options: argparse.Namespace) -> int:
    _configure_logging("stderr")
    from workers.rejected import show_rejected

    return show_rejected(_of_collection(settings, options), options.place, options.log, options.save)


def _replay(settings: "Settings", options: argparse.Namespace) -> int:
    _configure_logging("stderr")
    from workers.rejected import replay_rejected

    return replay_rejected(_of_collection(settings, options), options.place, options.log)


def _of_collection(settings: "Settings", options: argparse.Namespace) -> "Settings":
    """The settings with the topics of the collection that was asked for, whether it is there or not."""
    from contract.collections import Collection, check_collection_name, settings_of

    name = check_collection_name(options.collection)
    return settings_of(settings, Collection(name=name, encoder=settings.encoder, partitions=settings.kafka_partitions))


def _add_duplicates(duplicates: argparse.ArgumentParser) -> None:
    duplicates.add_argument(
        "--collection", metavar="NAME", default="default", help="the collection meant (default: default)"
    )
    duplicates.add_argument(
        "--max-distance",
        type=_distance,
        metavar="D",
        help="compare what is so near (default: as the encoder's card says)",
    )
    duplicates.add_argument("--copies-only", action="store_true", help="leave out images that are only near")
    duplicates.add_argument(
        "--verdicts",
        type=int,
        metavar="N",
        default=10_000,
        help="new pairs that are judged at most (default %(default)s)",
    )
    duplicates.add_argument("--background", action="store_true", help="give way to others, and print nothing")
    form = duplicates.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON: one group a line")
    form.add_argument("--csv", action="store_true", help="print CSV: one image a line")


def _distance(text: str) -> float:
    distance = float(text)
    if not 0 <= distance < float("inf"):
        raise ValueError(text)
    return distance


def _duplicates(settings: "Settings", options: argparse.Namespace) -> int:
    _configure_logging("stderr")
    from workers.duplicates.command import find_duplicates

    return find_duplicates(settings, options)


def _configure_logging(stream: Literal["stdout", "stderr"]) -> None:
    from contract import telemetry

    telemetry.configure_logging(stream)


_REJECTED = (
    Verb(
        name="list",
        summary="show every refused message with its place and reason",
        run=_list,
        add_arguments=_add_list,
        epilog="Example: %(prog)s --json",
    ),
    Verb(
        name="show",
        summary="show one refused message; --save writes its value to a file",
        run=_show,
        add_arguments=_add_show,
        epilog="Example: %(prog)s 2:1234 --save refused.bin",
    ),
    Verb(
        name="replay",
        summary="publish refused messages again as they were",
        run=_replay,
        add_arguments=_add_replay,
        epilog="Example: %(prog)s 2:1234 0:77",
    ),
)
VERBS = (
    Verb(
        name="embedder",
        summary="embed images from the topic and store them, until it is stopped",
        run=_embedder,
        add_arguments=_add_embedder,
        epilog="Example: %(prog)s --slot 1 --collections all",
    ),
    Verb(
        name="indexer",
        summary="publish index generations from what is stored, until it is stopped",
        run=_indexer,
        add_arguments=_add_indexer,
        epilog="Example: %(prog)s --collections default --rebuild",
    ),
    Verb(
        name="watcher",
        summary="tell what matches the watches, until it is stopped",
        run=_watcher,
        epilog="Example: %(prog)s",
    ),
    Verb(
        name="audit",
        summary="derive Kafka's records again, slowly, and tell where what is stored or found differs, until it is stopped",
        run=_audit,
        epilog="Example: LOOKALIKE_AUDIT_SHARE=0.5 %(prog)s",
    ),
    VERIFY,
    Verb(
        name="rejected",
        summary="list, show and publish again the messages that were refused",
        epilog="Example: %(prog)s list",
        verbs=_REJECTED,
    ),
    Verb(
        name="duplicates",
        summary="find images that are the same, altered copies of one another, or near",
        run=_duplicates,
        add_arguments=_add_duplicates,
        epilog="Example: %(prog)s --copies-only --csv > duplicates.csv",
        interrupted="Stopped; what was judged so far is judged again next time.",
    ),
)

if __name__ == "__main__":
    sys.exit(main())
