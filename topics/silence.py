"""A network for kafka-python's clients that gives up a broker which stands still while others could be asked.

A killed broker resets its connections. A frozen one, or one that the network does not reach, says nothing, and kafka-python 3.0 waits
for as long as an answer may take at all. What tells a slow one is that bytes move. A broker that is alone is waited for in any case.
"""

import time
from typing import Any

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
        if (
            timeout_ms is not None
        ):  # all that is left for finding a broker, of which one that is silent takes a part only
            timeout_ms = min(timeout_ms, OPENING_S_MAX * 500)
        connection = super().get_connection(node_id, timeout_ms=timeout_ms, **options)
        if "send_request" not in vars(connection):
            _give_up_when_silent(connection)
        return connection


def _give_up_when_silent(connection: Any) -> None:
    """Have an answer be overdue when no byte has moved for `SILENT_S_MAX`, and not when it takes longer than that."""
    send, overdue = connection.send_request, connection._request_timed_out

    def send_request(request: Any, request_timeout_ms: float | None = None) -> Any:
        if request_timeout_ms is None and isinstance(request, _SWIFT):
            request_timeout_ms = SILENT_S_MAX * 1000
        return send(request, request_timeout_ms=request_timeout_ms)

    def request_timed_out(future: Any, sent_s: float, until_s: float) -> None:
        moved_s = connection.transport.last_activity if connection.transport else sent_s
        if moved_s + SILENT_S_MAX > time.monotonic() and not future.is_done:
            connection.net.call_at(moved_s + SILENT_S_MAX, lambda: request_timed_out(future, sent_s, until_s))
        else:
            overdue(future, sent_s, until_s)

    connection.send_request, connection._request_timed_out = send_request, request_timed_out
