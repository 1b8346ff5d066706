"""A network for kafka-python's clients that gives up a broker which stands still while others could be asked.

A killed broker resets its connections. A frozen one, or one that the network does not reach, says nothing, and kafka-python 3.0 waits
for as long as an answer may take at all. What tells a slow one is that bytes move. A broker that is alone is waited for in any case.
"""

import time
from typing import Any

from kafka.errors import NodeNotReadyError
from kafka.net.compat import KafkaNetClient
from kafka.net.manager import KafkaConnectionManager
from kafka.net.selector import NetworkSelector
from kafka.protocol.admin import DescribeConfigsRequest
from kafka.protocol.consumer import FetchRequest, ListOffsetsRequest
from kafka.protocol.metadata import MetadataRequest
from kafka.protocol.producer import ProduceRequest

# As long as the brokers of `stack` take to have others lead what one led that is silent (broker.session.timeout.ms).
SILENT_S_MAX = 3
OPENING_S_MAX = 2
# How soon those that lead now are known where nothing has failed yet.
METADATA_AGE_S_MAX = 2
# What is answered at once, or when two of three brokers have it. Others, as to create a topic, may take their time.
_SWIFT = (DescribeConfigsRequest, FetchRequest, ListOffsetsRequest, MetadataRequest, ProduceRequest)


# By address: until when a broker that was silent is not tried again, by none of this process's clients. By then others lead.
_silent_until_s: dict[tuple[str, int], float] = {}


def note_silent(host: str, port: int) -> None:
    """A broker was silent: for a moment, others are asked."""
    _silent_until_s[host, port] = time.monotonic() + SILENT_S_MAX


def is_silent(host: str, port: int) -> bool:
    """Whether a broker was silent a moment ago."""
    return time.monotonic() < _silent_until_s.get((host, port), 0.0)


def open_impatient_network(**configs: Any) -> KafkaNetClient:
    """What a client of kafka-python that is told of several brokers takes as its `kafka_client`."""
    net = NetworkSelector(**configs)
    return KafkaNetClient(net=net, manager=_Manager(net, **configs))


class _Manager(KafkaConnectionManager):  # type: ignore[misc]
    def __init__(self, net: NetworkSelector, **configs: Any) -> None:
        age_ms = min(configs.get("metadata_max_age_ms", METADATA_AGE_S_MAX * 1000), METADATA_AGE_S_MAX * 1000)
        configs |= {"metadata_max_age_ms": age_ms, "socket_connection_setup_timeout_ms": OPENING_S_MAX * 1000}
        super().__init__(net, **configs)

    def get_connection(self, node_id: object, timeout_ms: float | None = None, **options: Any) -> Any:
        node = self.cluster.broker_metadata(node_id)
        if node is not None and is_silent(node.host, node.port):
            raise NodeNotReadyError(f"{node.host}:{node.port} is silent")
        if timeout_ms is not None:  # All that is left to find a broker in: one that is silent takes half of it only.
            timeout_ms = min(timeout_ms, max(1000, timeout_ms / 2))
        connection = super().get_connection(node_id, timeout_ms=timeout_ms, **options)
        if "send_request" not in vars(connection):
            _give_up_when_silent(connection, node.host, node.port)
        return connection


def _give_up_when_silent(connection: Any, host: str, port: int) -> None:
    """Have an answer be overdue when no byte has moved for as long as it may take, and not when it comes slowly."""
    send, overdue = connection.send_request, connection._request_timed_out

    def send_request(request: Any, request_timeout_ms: float | None = None) -> Any:
        if request_timeout_ms is None and isinstance(request, _SWIFT):
            request_timeout_ms = SILENT_S_MAX * 1000
        return send(request, request_timeout_ms=request_timeout_ms)

    def request_timed_out(future: Any, sent_s: float, until_s: float) -> None:
        if connection.closed or future.is_done:
            return
        moved_s = connection.transport.last_activity if connection.transport else sent_s
        again_s = moved_s + min(SILENT_S_MAX, until_s - sent_s)
        if again_s > time.monotonic():
            connection.net.call_at(again_s, lambda: request_timed_out(future, sent_s, until_s))
        else:
            note_silent(host, port)
            overdue(future, sent_s, until_s)

    connection.send_request, connection._request_timed_out = send_request, request_timed_out
