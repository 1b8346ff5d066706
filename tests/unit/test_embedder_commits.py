"""What the embedder commits is what aiokafka takes: its own type of partitions, and never nothing."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from aiokafka.util import commit_structure_validate
from faust.types.tuples import TP

from workers.embedder.consumer import ImageConsumer
from workers.embedder.fetching import ImageConsumerThread


def committed(assigned: set[Any], offsets: dict[TP, int]) -> list[dict[TopicPartition, OffsetAndMetadata]]:
    """What aiokafka is given, after its own check of it."""
    given = []

    async def commit(found: dict[TopicPartition, int]) -> None:
        given.append(commit_structure_validate(found))

    thread: Any = SimpleNamespace(
        assignment=lambda: assigned, tp_last_committed_at={}, _ensure_consumer=lambda: SimpleNamespace(commit=commit)
    )
    assert asyncio.run(ImageConsumerThread._commit(thread, offsets))
    assert list(thread.tp_last_committed_at) == [tp for tp in offsets if tp in assigned]
    return given


@pytest.mark.parametrize("kind", [TP, TopicPartition])
def test_partitions_are_committed_whichever_library_named_them(kind: Any) -> None:
    """Faust names a partition in which nothing but a gap was found, aiokafka one that records came from."""
    assert committed({TopicPartition("images", 2)}, {kind("images", 2): 7}) == [
        {TopicPartition("images", 2): OffsetAndMetadata(7, "")}
    ]


def test_nothing_is_committed_of_partitions_that_went_to_another() -> None:
    assert committed(set(), {TP("images", 2): 7}) == []


def test_flow_that_a_rebalance_stopped_during_a_seek_waits_for_the_next_seek() -> None:
    consumer: Any = ImageConsumer.__new__(ImageConsumer)
    consumer.can_resume_flow, consumer.suspend_flow = asyncio.Event(), asyncio.Event()
    consumer._stops, consumer._sought = 0, -1

    async def rebalance(*, stopped_again: bool) -> None:
        async def seek() -> dict[TP, int]:
            if stopped_again:
                consumer.stop_flow()
            return {}

        consumer._seek_to_feed = seek
        await consumer.seek_to_committed()
        consumer.resume_flow()

    consumer.stop_flow()
    asyncio.run(rebalance(stopped_again=True))
    assert not consumer.flow_active
    asyncio.run(rebalance(stopped_again=False))
    assert consumer.flow_active
