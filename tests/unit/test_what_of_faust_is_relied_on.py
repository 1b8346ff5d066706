"""The names of Faust and aiokafka that the embedder relies on, public and private, exist in the pinned releases."""

import importlib.metadata
import inspect
import re
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

import faust
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection
from aiokafka.consumer import fetcher, subscription_state
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy
from aiokafka.structs import ConsumerRecord
from faust.app.base import BootStrategy
from faust.assignor.client_assignment import ClientAssignment
from faust.assignor.partition_assignor import PartitionAssignor
from faust.streams import Stream
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.topics import Topic
from faust.transport.conductor import Conductor
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types.tuples import ConsumerMessage
from kafka import KafkaAdminClient
from kafka.net.connection import KafkaConnection
from kafka.net.manager import KafkaConnectionManager
from kafka.net.transport import KafkaTCPTransport
from mode.supervisors import CrashingSupervisor

from topics import silence as topics_silence
from workers.embedder import assignor, consumer, faust_app, fetching, header_names, members, reader, silence

ROOT = Path(__file__).parents[2]
DECISION = "docs/decisions/0012-what-of-faust-is-relied-on.md"
ADDITION = "docs/decisions/0014-one-embedder-for-many-collections.md"
PAGE = (ROOT / DECISION).read_text()
CLUSTERS = "docs/decisions/0030-clusters-on-one-machine.md"
PAGES = PAGE + (ROOT / ADDITION).read_text() + (ROOT / CLUSTERS).read_text()


class Overriding(NamedTuple):
    """A class of ours and the one that it changes."""

    ours: type
    base: type


OVERRIDING = [
    Overriding(consumer.ImageConsumer, Consumer),
    Overriding(fetching.ImageConsumerThread, AIOKafkaConsumerThread),
    Overriding(consumer.ImageTransport, Transport),
    Overriding(faust_app.ImageApp, faust.App),
    Overriding(faust_app.PatientRecovery, Recovery),
    Overriding(assignor.SpreadingAssignor, PartitionAssignor),
    Overriding(header_names._PatientRecords, _MemoryRecordsPy),
    Overriding(header_names._PatientBatch, _DefaultRecordBatchPy),
]


class Used(NamedTuple):
    """Names of a class or module that a module of ours uses; "overridden" ones must be methods of theirs."""

    owner: Any
    where: ModuleType
    names: str
    overridden: str = ""


USED = [
    Used(
        Consumer,
        consumer,
        "_thread _acked _acked_index _wait_next_records scheduler flow_active stop_flow can_resume_flow should_stop wait assignment "
        "_read_offset",
        "seek_to_committed stop_flow resume_flow on_partitions_revoked on_partitions_assigned getmany _getmany _to_message "
        "_new_offset _new_consumer_thread",
    ),
    Used(Consumer, reader, "subscribe"),
    Used(
        AIOKafkaConsumerThread,
        fetching,
        "_ensure_consumer assignment call_thread tp_last_committed_at thread_loop _consumer",
        "__post_init__ _create_worker_consumer _seek_wait _fetch_records _commit",
    ),
    Used(AIOKafkaConsumerThread, consumer, "seek_wait"),
    Used(Transport, consumer, "Consumer"),
    Used(faust.App, consumer, "consumer_generation_id"),
    Used(
        faust.App,
        reader,
        "agent topic topics rebalancing transport consumer start stop _crashed crash_reason tables",
    ),
    Used(faust.App, faust_app, "conf BootStrategy", "_new_transport on_first_start"),
    Used(BootStrategy, faust_app, "enable_kafka_producer"),
    Used(TableManager, reader, "_recovery"),
    Used(Recovery, faust_app, "", "_wait"),
    Used(Conductor, reader, "_update_indices"),
    Used(Topic, reader, "topics"),
    Used(Stream, reader, "noack events"),
    Used(Stream, consumer, "ack"),
    Used(
        PartitionAssignor,
        assignor,
        "_get_client_metadata _update_member_urls _protocol_assignments",
        "_perform_assignment metadata",
    ),
    Used(ClientAssignment, assignor, "actives"),
    Used(ConsumerProtocolMemberMetadata, members, "encode"),
    Used(KafkaAdminClient, members, "describe_groups remove_group_members"),
    Used(
        AIOKafkaConsumer,
        fetching,
        "_isolation_level _fetch_max_bytes _fetcher seek commit beginning_offsets end_offsets assignment pause paused resume "
        "_coordinator _client",
    ),
    Used(AIOKafkaClient, silence, "bootstrap _get_conn _request_timeout_ms cluster hosts force_metadata_update"),
    Used(AIOKafkaConnection, silence, "connected close _requests _reader _loop"),
    Used(KafkaConnectionManager, topics_silence, "get_connection cluster"),
    Used(KafkaConnection, topics_silence, "send_request _request_timed_out closed transport net"),
    Used(KafkaTCPTransport, topics_silence, "last_activity"),
    Used(GroupCoordinator, fetching, "check_errors request_rejoin member_id"),
    Used(fetcher.Fetcher, fetching, "_prefetch_backoff _subscriptions"),
    Used(subscription_state.SubscriptionState, fetching, "subscription"),
    Used(subscription_state.Subscription, fetching, "assignment"),
    Used(subscription_state.Assignment, fetching, "state_value"),
    Used(subscription_state.TopicPartitionState, fetching, "has_valid_position position"),
    Used(fetcher, header_names, "MemoryRecords"),
    Used(_MemoryRecordsPy, header_names, "_next_slice", "next_batch"),
    Used(_DefaultRecordBatchPy, header_names, "_buffer", "_maybe_uncompress"),
]

# What they do with a name, where setting it would change nothing if they no longer did.
STATEMENTS = [
    (AIOKafkaConsumer.start, "isolation_level=self._isolation_level", "_create_worker_consumer sets it before"),
    (AIOKafkaConsumer.start, "fetch_max_bytes=self._fetch_max_bytes", "_create_worker_consumer sets it before"),
    (fetcher.Fetcher, "backoff=self._prefetch_backoff", "_seek_wait sets it"),
    (
        GroupCoordinator._push_error_to_user,
        "[self._error_consumed_fut, self._closing]",
        "check_group lets the group's work go on after an error",
    ),
    (fetcher.Fetcher, "MemoryRecords(", "read_any_header_name replaces it"),
    (Consumer.perform_seek, "await self.seek_to_committed()", "it is the one place where Faust seeks"),
    (Consumer._filter_tps_with_pending_acks, "in self._acked", "stretches are acknowledged to Faust for this alone"),
    (Consumer._filter_committable_offsets, "self._new_offset(tp)", "it says what is committed"),
    (AIOKafkaConsumerThread.seek_wait, "self._seek_wait", "it notes from where partitions are read"),
    (AIOKafkaConsumerThread.getmany, "self._fetch_records", "it makes records and stretches"),
    (AIOKafkaConsumerThread.commit, "self._commit", "it lets a failed commit pass"),
    (
        Recovery._resume_streams,
        "app.on_rebalance_end()",
        "only after what was assigned is sought, another subscription may be made",
    ),
    (BootStrategy.kafka_producer, "self._should_enable_kafka_producer()", "the embedder's is not started"),
    (AIOKafkaClient.ready, "self._get_conn(", "connections that are asked for are watched"),
    (KafkaConnection._send_request, "self._request_timed_out(", "an answer is overdue when no byte moves"),
    (KafkaConnectionManager.send, "conn.send_request(", "requests are given their time"),
    (TableManager, "if self._recovery is None", "it is made before that"),
    (Recovery._resume_streams, "await self._wait(", "it gives up a seek that is late, and goes on with nothing"),
    (Recovery._wait, "if wait_result.stopped", "a wait that is late counts as a stop, so none is given a limit"),
    (PartitionAssignor._assign, "self._perform_assignment(", "it says who reads what"),
    (Conductor._update_tp_index, "in topic.topics", "topics are added to it while the app runs"),
    (fetcher.Fetcher._get_actions_per_node, "tp_state.paused", "topics that have their share are paused"),
    (
        fetcher.Fetcher._get_actions_per_node,
        "if node_id in backoff_by_nodes",
        "all that was fetched is taken over for this",
    ),
]


@pytest.mark.parametrize("used", USED, ids=lambda used: f"{used.owner.__name__} in {used.where.__name__}")
def test_every_name_that_is_used_exists(used: Used) -> None:
    ours, where = inspect.getsource(used.where), used.where.__name__
    for name in (used.names + " " + used.overridden).split():
        assert has(used.owner, name), advice(f"{used.owner.__name__}.{name} is gone, on which {where} relies")
        assert re.search(rf"\b{name}\b", ours), f"{where} uses {name} no longer: take it off this list and {DECISION}"
        assert f"`{name}`" in PAGES, (
            f"none of {DECISION}, {ADDITION} and {CLUSTERS} names `{name}`, on which {where} relies"
        )


@pytest.mark.parametrize("overriding", OVERRIDING, ids=lambda found: found.ours.__name__)
def test_every_method_that_is_overridden_is_listed_and_takes_what_theirs_takes(overriding: Overriding) -> None:
    ours, base = overriding
    listed = {name for used in USED if used.owner is base for name in used.overridden.split()}
    methods = {
        name: method
        for name, method in vars(ours).items()
        if isinstance(method, FunctionType) and name not in ("__init__", "__subclasshook__") and hasattr(base, name)
    }
    assert set(methods) == listed, f"these are overridden: list them here and in {DECISION}"
    for name, method in methods.items():
        theirs = parameters(getattr(base, name))
        assert parameters(method) == theirs, advice(
            f"{base.__name__}.{name} takes {theirs} now, and {ours.__module__}.{ours.__name__}.{name} does not"
        )


@pytest.mark.parametrize(("theirs", "statement", "why"), STATEMENTS, ids=lambda value: getattr(value, "__name__", ""))
def test_what_is_set_or_overridden_is_used_as_we_expect(theirs: Any, statement: str, why: str) -> None:
    assert statement in inspect.getsource(theirs), advice(
        f"{theirs.__qualname__} no longer holds `{statement}`, on which {consumer.__name__} relies: {why}"
    )


def test_messages_records_and_supervisor_are_made_and_read_as_we_do_it() -> None:
    taken = parameters(ConsumerMessage.__init__)
    expected = ["topic", "partition", "offset", "timestamp", "timestamp_type", "headers", "key", "value", "checksum"]
    assert taken[1:10] == expected, advice(
        f"ConsumerMessage takes {taken}; {consumer.__name__}.StretchMessage makes it"
    )
    assert {"tp", "generation_id"} <= set(taken), advice(f"ConsumerMessage takes {taken}")
    read = {"topic", "partition", "offset", "timestamp", "timestamp_type", "key", "value", "headers"}
    missing = read - set(ConsumerRecord.__dataclass_fields__)
    assert not missing, advice(f"ConsumerRecord lacks {missing}, which workers.embedder.records.reached_from reads")
    assert CrashingSupervisor.__name__ in PAGE


@pytest.mark.parametrize("package", ["faust-streaming", "aiokafka"])
def test_the_release_is_the_one_that_the_decision_looked_at(package: str) -> None:
    (pinned,) = re.findall(rf"^{package}==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    installed = importlib.metadata.version(package)
    looked_at = re.search(rf"{package}\s+is\s+pinned\s+to\s+(\S+\d)|{package}\s+to\s+(\S+\d)", PAGE)
    assert looked_at
    release = looked_at[1] or looked_at[2]
    assert pinned == installed == release, advice(
        f"{package} is pinned to {pinned}, {installed} is installed, and the decision speaks of {release}"
    )


def parameters(function: Any) -> list[str]:
    """The names that it takes, without those that aiokafka adds to have globals at hand."""
    return [name for name in inspect.signature(function).parameters if not name.startswith("_")]


def has(owner: Any, name: str) -> bool:
    """Whether a class or module has this name, or a class sets it on its instances."""
    if hasattr(owner, name):
        return True
    sources = [inspect.getsource(base) for base in inspect.getmro(owner) if base is not object and is_python(base)]
    return any(re.search(rf"\bself\.{name}\b.*=", source) for source in sources)


def is_python(base: type) -> bool:
    """Whether its source can be read."""
    try:
        return bool(inspect.getsource(base))
    except (OSError, TypeError):
        return False


def advice(what: str) -> str:
    """What happened, and what to do next."""
    return (
        f"{what}. Read how the new release does it, change our side, run tests/servers/test_embedder*.py and "
        f"tests/faults/test_embedder_kills.py, and look at {DECISION}: does it still hold?"
    )
