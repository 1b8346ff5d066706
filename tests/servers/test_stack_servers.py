"""Kafka and Cassandra as child processes."""

import os
import signal
import time
import uuid

import psutil
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

from contract.errors import ConfigurationError
from contract.settings import Settings, load_settings
from gallery.store.store import Store
from stack import groups
from stack.state import GroupState, read_state

DEADLINE_S = 200.0


def running(settings: Settings) -> GroupState:
    state = read_state(settings, "servers")
    assert state is not None
    return state


def test_up_leaves_running_servers_alone(stack: Settings) -> None:
    before = running(stack)
    assert groups.up(stack, "servers") is False
    assert running(stack) == before


def test_up_with_other_ports_says_that_they_run_elsewhere(stack: Settings) -> None:
    moved = load_settings(**{**stack.model_dump(), "kafka_controller_port": stack.kafka_controller_port + 1})
    with pytest.raises(ConfigurationError, match=r"already runs on port .*LOOKALIKE_KAFKA_CONTROLLER_PORT"):
        groups.up(moved, "servers")


def test_servers_listen_on_loopback_only(stack: Settings) -> None:
    for process in running(stack).processes:
        listening = [c for c in psutil.Process(process.pid).net_connections() if c.status == psutil.CONN_LISTEN]
        assert set(process.ports.values()) <= {connection.laddr[1] for connection in listening}
        assert {connection.laddr[0].removeprefix("::ffff:") for connection in listening} == {"127.0.0.1"}


def test_killed_servers_come_back_with_all_that_they_acknowledged(stack: Settings) -> None:
    """Promise 1: an acknowledged write survives kill -9."""
    topic = f"kept-{uuid.uuid4().hex[:8]}"
    admin = KafkaAdminClient(bootstrap_servers=stack.kafka_bootstrap)
    admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    admin.close()
    producer = KafkaProducer(bootstrap_servers=stack.kafka_bootstrap)
    producer.send(topic, b"kept").get(30)
    producer.close()
    store = Store.connect(stack)
    store.feed.add_log(topic=topic, log=f"{topic}:kept")
    store.close()

    before = running(stack)
    for process in before.processes:
        os.kill(process.pid, signal.SIGKILL)
    deadline = time.monotonic() + DEADLINE_S
    while not (running(stack).is_ready and all(process.restarts for process in running(stack).processes)):
        assert time.monotonic() < deadline, running(stack)
        time.sleep(0.1)

    consumer = KafkaConsumer(bootstrap_servers=stack.kafka_bootstrap, consumer_timeout_ms=30_000)
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    assert next(consumer).value == b"kept"
    consumer.close()
    store = Store.connect(stack)
    assert store.feed.logs(topic) == [f"{topic}:kept"]
    store.close()
