"""A session with Cassandra: connects, makes the schema, says which failures are Cassandra's, and writes rows in batches.

Rows of one partition travel together in unlogged batches of at most 1 MiB; statements are prepared and idempotent and
run at LOCAL_QUORUM. Cassandra's timestamps are Kafka's and decide nothing: rows of one record never differ.

Of several nodes, one that is away or stands still is waited for only a moment (docs/decisions/0030-clusters-on-one-machine.md).
"""

import re
import socket
import time
from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager
from typing import Any

from cassandra import (
    AuthenticationFailed,
    ConsistencyLevel,
    CoordinationFailure,
    InvalidRequest,
    OperationTimedOut,
    Timeout,
    Unauthorized,
    Unavailable,
)
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable, Session
from cassandra.concurrent import execute_concurrent
from cassandra.connection import ConnectionBusy, ConnectionException
from cassandra.policies import (
    ConstantSpeculativeExecutionPolicy,
    DCAwareRoundRobinPolicy,
    ExponentialReconnectionPolicy,
    TokenAwarePolicy,
)
from cassandra.protocol import IsBootstrappingErrorMessage, OverloadedErrorMessage, ServerError, TruncateError
from cassandra.query import BatchStatement, BatchType, PreparedStatement, tuple_factory

from contract.errors import DependencyError
from contract.settings import Settings
from gallery.store.keyspace import keyspace_statement, nodes_by_datacenter, refuse_other_datacenter
from gallery.store.schema import apply_schema
from runtime.credentials import cassandra_credentials, cassandra_tls

CONCURRENT_REQUESTS = 16
_BATCH_SIZE_BYTES_MAX = 1024 * 1024
# Of rows like a digit's, in processor time of Cassandra: 128 rows a batch cost .77 of what 64 cost, 32 half as much again, and 256
# the same (docs/benchmarks.md).
_BATCH_ROWS_MAX = 128
_REQUEST_TIMEOUT_S = 12.0
# Each 30 s by default: silence is noticed within twice the first and the second. Where another node can be asked, that is soon;
# one that is alone may be slow, as when it makes the tables on a busy machine.
_HEARTBEAT_INTERVAL_S, _HEARTBEAT_TIMEOUT_S = 2, 4
_LONE_HEARTBEAT_INTERVAL_S, _LONE_HEARTBEAT_TIMEOUT_S = 5, 10
# A node that has not answered by then may stand still, so another one is asked too; no more, or a slow cluster would get slower.
_OTHER_NODE_AFTER_S, _OTHER_NODES = 0.5, 1
_BUSY_PAUSE_S = 0.005
_CONDITION = re.compile(r"\bIF\b")

FAILURES = (
    NoHostAvailable,
    OperationTimedOut,
    Timeout,
    Unavailable,
    CoordinationFailure,
    ConnectionException,
    IsBootstrappingErrorMessage,
    OverloadedErrorMessage,
    ServerError,
    TruncateError,
    # Who grants what is missing does so while we wait.
    AuthenticationFailed,
    Unauthorized,
    OSError,
)


class CassandraSession:
    """The driver's session. Thread-safe. Every method raises DependencyError when Cassandra fails it."""

    def __init__(self, cluster: Cluster, driver: Session) -> None:
        self._cluster = cluster
        self._driver = driver

    @classmethod
    def connect(cls, settings: Settings) -> "CassandraSession":
        """Connect, and create keyspace and tables that are missing.

        Raises:
            ConfigurationError: this program is too old for what is there, the data centre is not there or too small, or a password or a
                certificate cannot be read.
        """
        keyspace = settings.cassandra_keyspace
        shown = cassandra_credentials(settings)
        is_lone = settings.cassandra_replication == 1 and "," not in settings.cassandra_hosts
        # Without TCP_NODELAY a batch of 16 rows takes 47 ms instead of 4 (Nagle and delayed acknowledgement).
        cluster = Cluster(
            settings.cassandra_hosts.split(","),
            port=settings.cassandra_port,
            sockopts=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
            reconnection_policy=ExponentialReconnectionPolicy(0.2, 5.0),
            execution_profiles={EXEC_PROFILE_DEFAULT: profile(settings.cassandra_datacenter)},
            # On one node; the others learn it when they are asked. Else one that stands still would be waited for each time.
            prepare_on_all_hosts=False,
            connect_timeout=5.0,
            # A connection that Cassandra knows nothing of any more is found out by that, and not by questions that time out.
            idle_heartbeat_interval=_LONE_HEARTBEAT_INTERVAL_S if is_lone else _HEARTBEAT_INTERVAL_S,
            idle_heartbeat_timeout=_LONE_HEARTBEAT_TIMEOUT_S if is_lone else _HEARTBEAT_TIMEOUT_S,
            protocol_version=5,
            ssl_context=cassandra_tls(settings),
            auth_provider=shown and PlainTextAuthProvider(shown.user, shown.password.get_secret_value()),
        )
        try:
            with _connecting():
                driver = _connected(cluster, settings)
                if keyspace not in cluster.metadata.keyspaces:
                    driver.execute(keyspace_statement(settings, nodes_by_datacenter(cluster)))
                driver.set_keyspace(keyspace)
                apply_schema(driver, keyspace)
                return cls(cluster, driver)
        except BaseException:
            cluster.shutdown()
            raise

    def close(self) -> None:
        """Close all connections."""
        self._cluster.shutdown()

    def prepare(self, statement: str) -> PreparedStatement:
        """Prepare a statement, to be executed any number of times."""
        with _connecting():
            prepared = self._driver.prepare(statement)
        prepared.is_idempotent = not compares(statement)
        return prepared

    def prepare_insert(self, table: str, columns: str) -> PreparedStatement:
        """Prepare what `write` executes: an insert of these columns with a timestamp."""
        marks = ", ".join("?" for _ in columns.split(","))
        return self.prepare(f"INSERT INTO {table} ({columns}) VALUES ({marks}) USING TIMESTAMP ?")

    @contextmanager
    def asked(self, doing: str) -> Iterator[Session]:
        """The driver's session; what Cassandra fails inside becomes a DependencyError that tells what was being done."""
        with _failures_told(doing):
            yield self._driver

    def delete(self, table: str, key_columns: str, *, logs: Set[str], doing: str) -> None:
        """Delete every partition of a table whose first key column, ``log``, is one of `logs`. Reads every partition key: seldom."""
        names = key_columns.split(", ")
        statement = self.prepare(f"DELETE FROM {table} WHERE {' AND '.join(f'{name} = ?' for name in names)}")
        with self.asked(doing) as driver:
            keys = [
                tuple(key) for key in driver.execute(f"SELECT DISTINCT {key_columns} FROM {table}") if key[0] in logs
            ]
            execute_concurrent(driver, [(statement, key) for key in keys], concurrency=CONCURRENT_REQUESTS)

    def write(
        self,
        statement: PreparedStatement,
        rows: Iterable[tuple[tuple[Any, ...], int]],
        *,
        partition_columns: int,
        doing: str,
    ) -> None:
        """Write (values, kafka_time_ms) rows in batches of one Cassandra partition each; returns when all are durable."""
        by_partition: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
        for values, time_ms in rows:
            by_partition.setdefault(values[:partition_columns], []).append((*values, time_ms * 1000))
        batches = [(batch, None) for group in by_partition.values() for batch in _batches(statement, group)]
        with self.asked(doing) as driver:
            while batches:
                results = execute_concurrent(
                    driver, batches, concurrency=CONCURRENT_REQUESTS, raise_on_first_error=False
                )
                failures = [None if result.success else result.result_or_exc for result in results]
                for failure in failures:
                    if failure and not _is_busy(failure):
                        raise failure
                for (batch, _), failure in zip(batches, failures, strict=True):
                    if not failure:
                        batch.clear()  # the driver's timer would hold on to its rows for another 12 s
                batches = [each for each, failure in zip(batches, failures, strict=True) if failure]
                if batches:
                    time.sleep(_BUSY_PAUSE_S)


def compares(statement: str) -> bool:
    """Whether a statement compares before it sets: done twice, it would tell the second time that it was not done."""
    return bool(_CONDITION.search(statement))


def _connected(cluster: Cluster, settings: Settings) -> Session:
    try:
        return cluster.connect()
    except NoHostAvailable:
        # With a data centre that is not there, the driver knows all nodes and may ask none.
        refuse_other_datacenter(settings, nodes_by_datacenter(cluster))
        raise


def _is_busy(failure: Exception) -> bool:
    """Whether the driver did not send a request because the socket's buffer was full, as large originals make it."""
    if not isinstance(failure, NoHostAvailable):
        return False
    reasons = dict(failure.errors).values()  # none where no host is up
    return bool(reasons) and all(isinstance(reason, ConnectionBusy) for reason in reasons)


def _batches(statement: PreparedStatement, rows: list[tuple[Any, ...]]) -> Iterator[BatchStatement]:
    batch, size = _new_batch(), 0
    for row in rows:
        row_size = sum(len(value) for value in row if isinstance(value, bytes | str))
        if batch and (len(batch) == _BATCH_ROWS_MAX or size + row_size > _BATCH_SIZE_BYTES_MAX):
            yield batch
            batch, size = _new_batch(), 0
        batch.add(statement, row)
        size += row_size
    if batch:
        yield batch


def _new_batch() -> BatchStatement:
    batch = BatchStatement(batch_type=BatchType.UNLOGGED)
    batch.is_idempotent = True
    return batch


def profile(datacenter: str) -> ExecutionProfile:
    """Which nodes are asked, how many must agree, and how long they are waited for; "" is the data centre of the first node."""
    return ExecutionProfile(
        # Not shuffled: the driver (3.30) shuffles a list that the plans of all requests share, so that one may name the same node
        # three times, and the other two never.
        load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy(datacenter), shuffle_replicas=False),
        consistency_level=ConsistencyLevel.LOCAL_QUORUM,
        serial_consistency_level=ConsistencyLevel.LOCAL_SERIAL,
        speculative_execution_policy=ConstantSpeculativeExecutionPolicy(_OTHER_NODE_AFTER_S, _OTHER_NODES),
        request_timeout=_REQUEST_TIMEOUT_S,
        row_factory=tuple_factory,
    )


@contextmanager
def _connecting() -> Iterator[None]:
    try:
        with _failures_told("connecting"):
            yield
    except InvalidRequest as error:
        # What another program is making at the moment is described to us before it can be asked.
        raise DependencyError("cassandra", f"connecting failed, the tables may not be ready: {error}") from error


@contextmanager
def _failures_told(doing: str) -> Iterator[None]:
    try:
        yield
    except FAILURES as error:
        raise DependencyError("cassandra", f"{doing} failed: {type(error).__name__}: {error}") from error
