"""python -m workers rejected list | show | replay: looks at refused messages, and publishes them again after a repair."""

import json
import sys
from pathlib import Path

from contract.errors import LookalikeError
from contract.settings import Settings
from topics.batch_publisher import BatchPublisher, Message
from topics.rejected import RejectedMessage, read_rejected


def list_rejected(settings: Settings, *, as_json: bool) -> int:
    """Print every refused message; returns the exit status.

    Raises:
        DependencyError: Kafka did not answer.
    """
    count = 0
    for refused in read_rejected(settings):
        if as_json:
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


def show_rejected(settings: Settings, place: tuple[int, int], log: str | None, save: Path | None) -> int:
    """Print one refused message, and save its value where `save` names a file; returns the exit status.

    Args:
        place: partition and offset of the original.
        log: of the original, where there may be several.

    Raises:
        DependencyError: Kafka did not answer.
        LookalikeError: the message is not there or has nothing to save.
    """
    refused = _find(settings, [place], log)[0]
    for name, content in _described(refused).items():
        print(f"{name:<12} {content}")
    if save:
        if refused.value is None:
            raise LookalikeError("The message has a null value: there is nothing to save.")
        save.write_bytes(refused.value)
        print(f"{'saved':<12} {save}")
    return 0


def replay_rejected(settings: Settings, places: list[tuple[int, int]], log: str | None) -> int:
    """Publish refused messages again as they were; returns the exit status.

    Raises:
        DependencyError: Kafka did not answer.
        LookalikeError: a message is not there or was not kept whole.
    """
    found = _find(settings, places, log)
    for refused in found:
        if refused.cut:
            rejection = refused.rejection
            raise LookalikeError(
                f"{rejection.key.partition}:{rejection.key.offset} cannot be published again: its {refused.cut} was too large to be kept."
            )
    publisher = BatchPublisher(settings, settings.kafka_topic)
    try:
        published = publisher.publish([Message(key=r.key, value=r.value, headers=r.headers) for r in found])
    finally:
        publisher.close()
    for refused, (partition, offset) in zip(found, published, strict=True):
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
