"""A connection to Kafka is given up when it is silent, and not when its answer is only slow: both clients that we use."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator

import pytest
from aiokafka.conn import create_conn
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.metadata import MetadataRequest
from kafka.errors import RequestTimedOutError
from kafka.protocol.consumer import FetchRequest as OtherFetchRequest
from kafka.protocol.metadata import MetadataRequest as OtherMetadataRequest

from contract.settings import Settings
from tests.embedding import make_topics, producer
from tests.relay import ANSWERS, Relay, Weather
from topics.silence import SILENT_S_MAX, open_impatient_network
from workers.embedder.silence import watch_silence

SIZE = 1024 * 1024
SILENT = Weather(held=frozenset({ANSWERS}))
SLOW = Weather(bytes_per_s=SIZE // (SILENT_S_MAX + 4))


@pytest.fixture
def relay(settings: Settings) -> Iterator[Relay]:
    with Relay(int(settings.kafka_bootstrap.rpartition(":")[2])) as relay:
        yield relay


def embedders(relay: Relay, topic: str, weather: Weather) -> int:
    """Ask for the ends of topics, and in that weather for a record; its size."""

    async def fetch() -> int:
        connection = await create_conn("127.0.0.1", relay.port, request_timeout_ms=60_000)
        watch_silence(connection)
        assert (await connection.send(MetadataRequest([]))).brokers
        relay.weather = weather
        try:
            answer = await connection.send(FetchRequest(500, 1, 2 * SIZE, 0, [(topic, [(0, 0, 2 * SIZE)])], rack_id=""))
            ((_, ((*_, records),)),) = answer.topics
            return len(records)
        finally:
            connection.close()

    return asyncio.run(fetch())


def others(relay: Relay, topic: str, weather: Weather) -> int:
    """The same with the client that all other programs have."""
    client = open_impatient_network(
        bootstrap_servers=[f"127.0.0.1:{relay.port}"], request_timeout_ms=60_000, receive_message_max_bytes=4 * SIZE
    )

    async def fetch() -> int:
        connection = await client._manager.get_connection(client.cluster.bootstrap_brokers()[0].node_id)
        assert (await connection.send_request(OtherMetadataRequest(topics=[]))).brokers
        relay.weather = weather
        partition = OtherFetchRequest.FetchTopic.FetchPartition(
            partition=0, fetch_offset=0, partition_max_bytes=2 * SIZE
        )
        asked = OtherFetchRequest.FetchTopic(topic=topic, partitions=[partition])
        answer = await connection.send_request(
            OtherFetchRequest(max_wait_ms=500, min_bytes=1, max_bytes=2 * SIZE, topics=[asked], max_version=12)
        )
        return len(answer.responses[0].partitions[0].records)

    with contextlib.closing(client):
        return int(client._net.run(fetch))


CLIENTS = pytest.mark.parametrize("ask", [embedders, others])


@CLIENTS
def test_a_broker_that_says_nothing_is_given_up(
    settings: Settings, relay: Relay, ask: Callable[[Relay, str, Weather], int]
) -> None:
    make_topics(settings)
    began_s = time.monotonic()
    with pytest.raises((KafkaConnectionError, RequestTimedOutError)):
        ask(relay, settings.kafka_topic, SILENT)
    assert SILENT_S_MAX <= time.monotonic() - began_s < SILENT_S_MAX + 5


@CLIENTS
def test_a_large_record_over_a_slow_link_is_waited_for(
    settings: Settings, relay: Relay, ask: Callable[[Relay, str, Weather], int]
) -> None:
    make_topics(settings)
    with contextlib.closing(producer(settings)) as sender:
        sender.send(settings.kafka_topic, value=bytes(SIZE), partition=0).get(10)
    began_s = time.monotonic()
    assert ask(relay, settings.kafka_topic, SLOW) > SIZE
    assert time.monotonic() - began_s > SILENT_S_MAX + 2
