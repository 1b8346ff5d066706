"""python -m workers embedder | indexer | rejected"""

import argparse
import sys

from contract import telemetry
from contract.errors import LookalikeError
from contract.settings import Settings, load_settings
from workers.rejected import add_arguments
from workers.rejected import run as run_rejected

_EXAMPLE = """example:
  python -m workers embedder --slot 1
  python -m workers rejected list
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done or told to stop, 1 failed, 130 stopped by Ctrl-C."""
    options = _parser().parse_args(arguments)
    try:
        telemetry.configure_logging(options.log_stream)
        return int(options.run(load_settings(), options))
    except LookalikeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m workers",
        description="Move images from Kafka into Cassandra and from there into the index.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    embedder = _add(verbs, "embedder", _embedder, "embed images from the topic and store them, until it is stopped")
    embedder.add_argument(
        "--slot",
        type=int,
        default=0,
        help="number of this embedder among those that run; each needs its own (default 0)",
    )
    embedder.add_argument(
        "--from-store",
        action="store_true",
        help="embed stored originals that Kafka holds no longer and this encoder's feed lacks, then end; "
        "run it before the embedder",
    )
    indexer = _add(verbs, "indexer", _indexer, "publish index generations from what is stored, until it is stopped")
    indexer.add_argument("--rebuild", action="store_true", help="start a new index although the current one is good")
    rejected = _add(verbs, "rejected", _rejected, "list, show and publish again the messages that were refused")
    rejected.set_defaults(log_stream="stderr")
    add_arguments(rejected)
    return parser


def _add(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, run: object, summary: str
) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=summary, description=summary)
    verb.set_defaults(run=run, log_stream="stdout")
    return verb


def _embedder(settings: Settings, options: argparse.Namespace) -> int:
    if options.from_store:
        from workers.embedder.restore import run as restore

        return restore(settings)
    from workers.embedder.program import run

    return run(settings, slot=options.slot)


def _indexer(settings: Settings, options: argparse.Namespace) -> int:
    from workers.indexer import run

    return run(settings, rebuild=options.rebuild)


def _rejected(settings: Settings, options: argparse.Namespace) -> int:
    return run_rejected(settings, options)


if __name__ == "__main__":
    sys.exit(main())
