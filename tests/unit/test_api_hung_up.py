"""A client that hangs up before it is answered is no failure of ours."""

import asyncio
import socket
import threading
import time
from typing import Any

import pytest
import uvicorn

from api.connections import BoundedProtocol
from tests.api_gallery import free_port, wait_until


@pytest.mark.timeout(120)
def test_an_answer_to_who_has_hung_up_is_thrown_away_without_an_error() -> None:
    """Also between the end of what he sends and the moment in which the connection is seen to be lost."""
    raised: list[BaseException | None] = []

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        time.sleep(0.2)  # the loop sees nothing meanwhile, and then the end at once
        for _ in range(int(scope["path"][1:])):
            await asyncio.sleep(0)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"ok"})
            raised.append(None)
        except RuntimeError as error:
            raised.append(error)

    port = free_port()
    config = uvicorn.Config(answer, port=port, http=BoundedProtocol, ws="none", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, "the server has started", 60)
        for turns in range(6):
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(f"GET /{turns} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                time.sleep(0.05)
                client.shutdown(socket.SHUT_WR)
                wait_until(lambda: len(raised) > turns, "it was answered")  # noqa: B023
    finally:
        server.should_exit = True
        thread.join()
    assert raised == [None] * 6
