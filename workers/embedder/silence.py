"""Gives up connections to a broker that stands still while others could be asked, long before an answer is overdue.

A killed broker resets its connections. A frozen one, or one that the network does not reach, says nothing, and aiokafka 0.14 waits as
long as the largest record may take. What tells a slow broker is that bytes come. One that is alone is waited for in any case.
"""

import asyncio
import weakref
from typing import Any

import structlog
from aiokafka.conn import CloseReason
from aiokafka.protocol.group import JoinGroupRequest, SyncGroupRequest

from topics.silence import OPENING_S_MAX, SILENT_S_MAX, is_silent, note_silent

_LOOK_INTERVAL_S = 0.5
# Answered when the other members of the group have come.
_PATIENT = (JoinGroupRequest.API_KEY, SyncGroupRequest.API_KEY)

logger = structlog.get_logger()


def give_up_silent(client: Any) -> None:
    """From now on have an `AIOKafkaClient` that is told of several brokers give up those that are silent."""
    bootstrap, open_connection = client.bootstrap, client._get_conn
    answer_timeout_ms = client._request_timeout_ms
    watched: weakref.WeakSet[Any] = weakref.WeakSet()

    async def find_brokers() -> None:
        if len(client.hosts) > 1:
            client._request_timeout_ms = OPENING_S_MAX * 1000
        try:
            await bootstrap()
        finally:
            client._request_timeout_ms = answer_timeout_ms

    async def get_connection(node_id: int, **options: Any) -> Any:
        if len(client.cluster.brokers()) < 2:
            return await open_connection(node_id, **options)
        broker = client.cluster.broker_metadata(node_id)
        if broker is not None and is_silent(broker.host, broker.port):
            client.force_metadata_update()
            return None
        try:
            connection = await asyncio.wait_for(open_connection(node_id, **options), OPENING_S_MAX)
        except TimeoutError:
            if broker is not None:
                note_silent(broker.host, broker.port)
            client.force_metadata_update()
            return None
        if connection is not None and connection not in watched:
            watched.add(connection)
            watch_silence(connection)
        return connection

    client.bootstrap, client._get_conn = find_brokers, get_connection


def watch_silence(connection: Any) -> None:
    """From now on close an `AIOKafkaConnection` when an answer is due, and no byte has come of it for `SILENT_S_MAX`.

    Counted in looks and not on a clock, so that it does not become silent by our standing still.
    """
    _look(connection, None, 0)


def _look(connection: Any, seen: object, silent: int) -> None:
    if not connection.connected():
        return
    waits_for = _waits_for(connection)
    silent = silent + 1 if waits_for is not None and waits_for == seen else 0
    if silent * _LOOK_INTERVAL_S >= SILENT_S_MAX:
        logger.warning("broker is silent; its connection is given up", host=connection.host, port=connection.port)
        note_silent(connection.host, connection.port)
        connection.close(reason=CloseReason.CONNECTION_TIMEOUT)
        return
    connection._loop.call_later(_LOOK_INTERVAL_S, _look, connection, waits_for, silent)


def _waits_for(connection: Any) -> object:
    """Which answer, and how much of it is there; None for none."""
    if not connection._requests:
        return None
    number, request, _ = connection._requests[0]
    return None if request.API_KEY in _PATIENT else (number, len(connection._reader._buffer))
