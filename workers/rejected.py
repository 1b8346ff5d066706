"""python -m workers rejected list | show | replay: looks at refused messages, and publishes them again after a repair."""

import argparse
import json
import sys
from pathlib import Path

from contract.errors import LookalikeError
from contract.settings import Settings
from topics.batch_publisher import BatchPublisher, Message
from topics.rejected import RejectedMessage, read_rejected


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verbs of `rejected`."""
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for name, run, summary in (
        ("list", _list, "show every refused message with its place and reason"),
        ("show", _show, "show one refused message; --save writes its value to a file"),
        ("replay", _replay, "publish refused messages again as they were"),
    ):
        verb = verbs.add_parser(name, help=summary, description=summary)
        verb.set_defaults(run_rejected=run)
        if name == "list":
            verb.add_argument("--json", action="store_true", help="one JSON object a line")
        else:
            many = {"nargs": "+"} if name == "replay" else {}
            verb.add_argument("place", type=_place, metavar="P:O", help="partition and offset of the original", **many)  # type: ignore[arg-type]
            verb.add_argument("--log", help="log of the original, where the topic was created more than once")
        if name == "show":
            verb.add_argument("--save", type=Path, metavar="FILE", help="write the value here")


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Run one verb; returns the exit status.

    Raises:
        DependencyError: Kafka did not answer.
        LookalikeError: a message that was asked for is not there or was not kept whole.
    """
    return int(options.run_rejected(settings, options))


def _list(settings: Settings, options: argparse.Namespace) -> int:
    count = 0
    for refused in read_rejected(settings):
        if options.json:
            print(json.dumps(_described(refused), ensure_ascii=False))
        else:
            if not count:
                print(f"{'PLACE':<14}{'REASON':<20}{'BYTES':>10}  KEY / DETAIL")
            rejection = refused.rejection
            place = f"{rejection.key.partition}:{rejection.key.offset}"
            print(f"{place:<14}{rejection.reason:<20}{refused.size_bytes or 0:>10}  {refused.key_text}")
            print(f"{'':<14}{rejection.detail}")
        count += 1
    print(f"{count} rejected message{'' if count == 1 else 's'}", file=sys.stderr)
    return 0


def _show(settings: Settings, options: argparse.Namespace) -> int:
    refused = _find(settings, [options.place], options.log)[0]
    for name, content in _described(refused).items():
        print(f"{name:<12} {content}")
    if options.save:
        if refused.value is None:
            raise LookalikeError("The message has a null value: there is nothing to save.")
        options.save.write_bytes(refused.value)
        print(f"{'saved':<12} {options.save}")
    return 0


def _replay(settings: Settings, options: argparse.Namespace) -> int:
    found = _find(settings, options.place, options.log)
    for refused in found:
        if refused.cut:
            rejection = refused.rejection
            raise LookalikeError(
                f"{rejection.key.partition}:{rejection.key.offset} cannot be published again: its {refused.cut} was too large to be kept."
            )
    publisher = BatchPublisher(settings, settings.kafka_topic)
    try:
        places = publisher.publish([Message(key=r.key, value=r.value, headers=r.headers) for r in found])
    finally:
        publisher.close()
    for refused, (partition, offset) in zip(found, places, strict=True):
        print(
            f"{refused.rejection.key.partition}:{refused.rejection.key.offset} published again as {partition}:{offset}"
        )
    return 0


def _find(settings: Settings, places: list[tuple[int, int]], log: str | None) -> list[RejectedMessage]:
    """The messages at these places, in this order."""
    found: dict[tuple[int, int], RejectedMessage] = {}
    for refused in read_rejected(settings):
        rejection = refused.rejection
        place = rejection.key.partition, rejection.key.offset
        if place not in places or log not in (None, rejection.key.log):
            continue
        if place in found:
            raise LookalikeError(
                f"{place[0]}:{place[1]} was refused in {found[place].rejection.key.log} and in {rejection.key.log}: name one with --log."
            )
        found[place] = refused
    for partition, offset in places:
        if (partition, offset) not in found:
            raise LookalikeError(f"{partition}:{offset} was not rejected. See `python -m workers rejected list`.")
    return [found[place] for place in places]


def _described(refused: RejectedMessage) -> dict[str, object]:
    rejection = refused.rejection
    return {
        "reason": rejection.reason,
        "detail": rejection.detail,
        "topic": rejection.topic,
        **rejection.key._asdict(),
        "time_ms": refused.time_ms,
        "key": refused.key_text,
        "value_bytes": refused.size_bytes,
        "headers": [name for name, _ in refused.headers],
        "not_kept": refused.cut,
    }


def _place(text: str) -> tuple[int, int]:
    partition, _, offset = text.partition(":")
    return int(partition), int(offset)
