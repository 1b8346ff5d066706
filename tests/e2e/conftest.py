"""A pipeline whose programs run, for the tests that do not need one of their own."""

from collections.abc import Iterator

import pytest
from kafka import KafkaProducer

from contract.settings import Settings
from lookalike_client import Client
from stack import groups
from tests.collector import Collector
from tests.conftest import fresh_settings


@pytest.fixture(scope="package")
def collector() -> Iterator[Collector]:
    """Takes the traces of that pipeline."""
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture(scope="package")
def running(stack: Settings, tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Settings]:
    """Settings of a pipeline whose programs run, for all tests that share one; a new base every 2 s, so that rebuilds happen while tests look."""
    folder = tmp_path_factory.mktemp("pipeline")
    settings = fresh_settings(
        stack,
        folder,
        var_dir=folder / "var",
        cassandra_keyspace=f"{stack.cassandra_keyspace}_e2e",
        rebuild_interval_s=2,
        otlp_endpoint=collector.endpoint,
    )
    groups.up(settings, "programs", tied=True)
    yield settings
    groups.down(settings, "programs")


@pytest.fixture
def client(running: Settings) -> Client:
    return Client(running.api_address)


@pytest.fixture
def plain(running: Settings) -> Iterator[KafkaProducer]:
    """A Kafka client that knows nothing of ours."""
    producer = KafkaProducer(bootstrap_servers=running.kafka_bootstrap)
    yield producer
    producer.close()
