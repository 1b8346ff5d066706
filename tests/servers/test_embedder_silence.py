"""A connection to Kafka is given up when it is silent, and not when its answer is only slow."""

import asyncio
import contextlib
import time
from collections.abc import Iterator

import pytest
from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.metadata import MetadataRequest

from contract.settings import Settings
from tests.embedding import make_topics, producer
from tests.relay import ANSWERS, Relay, Weather
from topics.silence import SILENT_S_MAX
from workers.embedder.silence import watch


@pytest.fixture
def relay(settings: Settings) -> Iterator[Relay]:
    with Relay(int(settings.kafka_bootstrap.rpartition(":")[2])) as relay:
        yield relay


async def watched(relay: Relay) -> AIOKafkaConnection:
    connection = await create_conn("127.0.0.1", relay.port, request_timeout_ms=60_000)
    watch(connection)
    return connection


def test_a_broker_that_says_nothing_is_given_up(relay: Relay) -> None:
    async def ask() -> float:
        connection = await watched(relay)
        assert (await connection.send(MetadataRequest([]))).brokers
        relay.weather = Weather(held=frozenset({ANSWERS}))
        began_s = time.monotonic()
        with pytest.raises(KafkaConnectionError):
            await connection.send(MetadataRequest([]))
        assert not connection.connected()
        return time.monotonic() - began_s

    assert SILENT_S_MAX - 1 < asyncio.run(ask()) < SILENT_S_MAX + 5


def test_a_large_record_over_a_slow_link_is_waited_for(settings: Settings, relay: Relay) -> None:
    make_topics(settings)
    value = bytes(1024 * 1024)
    with contextlib.closing(producer(settings)) as sender:
        sender.send(settings.kafka_topic, value=value, partition=0).get(10)

    async def fetch() -> tuple[float, int]:
        connection = await watched(relay)
        relay.weather = Weather(bytes_per_s=len(value) // (SILENT_S_MAX + 3))
        began_s = time.monotonic()
        wanted = [(settings.kafka_topic, [(0, 0, 2 * len(value))])]
        answer = await connection.send(FetchRequest(500, 1, 2 * len(value), 0, wanted, rack_id=""))
        ((_, ((*_, records),)),) = answer.topics
        connection.close()
        return time.monotonic() - began_s, len(records)

    took_s, size = asyncio.run(fetch())
    assert took_s > SILENT_S_MAX + 1 and size > len(value)
