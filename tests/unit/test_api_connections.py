"""Connections that say nothing, or too little, are ended, and there are no more than so many; those that work stay."""

import contextlib
import json
import socket
import struct
import time
from collections.abc import Iterator

import httpx
import pytest

from api.access.streams import EVENT_STREAMS_MAX
from api.connections import ConnectionLimits
from tests.api_gallery import Gallery, digit, running_api, settings_for

LIMITS = ConnectionLimits(
    count_max=30,
    first_byte_s=0.6,
    headers_s=0.5,
    headers_size_bytes_max=8192,
    body_grace_s=0.3,
    look_s=0.1,
    lingering_s=0.5,
)
SLACK_S = 2.0
SEARCH = b"POST /v1/search?k=1 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\n"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    settings = settings_for(tmp_path_factory.mktemp("api"))
    Gallery(settings).put({"a": digit(0)})
    with running_api(settings, LIMITS):
        yield settings.api_port


@contextlib.contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        yield client


def said_until_the_end(client: socket.socket) -> tuple[bytes, float]:
    """All that comes until the other side closes, and how long that took, in seconds."""
    began_s, said = time.monotonic(), b""
    with contextlib.suppress(ConnectionResetError):
        while more := client.recv(65536):
            said += more
    return said, time.monotonic() - began_s


def sends_until_it_is_ended(client: socket.socket, part: bytes, pause_s: float) -> float:
    """Send the same again and again; returns after how many seconds the other side has had enough."""
    began_s = time.monotonic()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        while time.monotonic() < began_s + 30:
            client.sendall(part)
            time.sleep(pause_s)
    return time.monotonic() - began_s


def code_of(said: bytes) -> tuple[int, str]:
    head, _, body = said.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    return int(head.split()[1]), json.loads(body)["code"]


def test_a_connection_that_says_nothing_is_ended_without_a_word(port: int) -> None:
    for nothing in (b"", b"\r\n"):
        with connected(port) as client:
            client.sendall(nothing)
            said, took_s = said_until_the_end(client)
            assert said == b""
            assert LIMITS.first_byte_s - 0.1 < took_s < LIMITS.first_byte_s + SLACK_S


def test_headers_that_do_not_end_are_not_waited_for(port: int) -> None:
    for begun in (b"G", b"GET /livez HTTP/1.1\r\nHost: x\r\nX-More: "):
        with connected(port) as client:
            client.sendall(begun)
            said, took_s = said_until_the_end(client)
            assert code_of(said) == (408, "slow-headers")
            assert took_s < LIMITS.headers_s + SLACK_S
    with connected(port) as client:  # a byte now and then does not help
        client.sendall(b"GET /livez HTTP/1.1\r\nX-More: ")
        assert sends_until_it_is_ended(client, b"x", 0.05) < LIMITS.headers_s + SLACK_S


def test_headers_have_a_size(port: int) -> None:
    with connected(port) as client:
        client.sendall(b"GET /livez HTTP/1.1\r\nX-Long: " + b"x" * 9000)
        assert code_of(said_until_the_end(client)[0]) == (431, "too-large-headers")


@pytest.mark.parametrize("encoding", [b"Content-Length: 100000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"])
def test_a_body_that_hardly_comes_is_not_waited_for(port: int, encoding: bytes) -> None:
    with connected(port) as client:
        client.sendall(SEARCH + encoding)
        said, took_s = said_until_the_end(client)
        assert code_of(said) == (408, "slow-body")
        assert took_s < LIMITS.body_grace_s + SLACK_S


def test_a_body_that_comes_slowly_but_fast_enough_is_taken(port: int) -> None:
    value = digit(0)
    body = value + bytes(40_000 - len(value))  # what follows a picture's end is no part of it
    with connected(port) as client:
        client.sendall(SEARCH + f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode())
        for at in range(0, len(body), 2000):
            client.sendall(body[at : at + 2000])
            time.sleep(0.06)  # 33 kB/s, for 1.2 s
        said, _ = said_until_the_end(client)
        assert said.startswith(b"HTTP/1.1 ")
        assert b"408" not in said[:20]


def test_who_waits_for_our_word_before_sending_is_not_slow(port: int) -> None:
    with connected(port) as client:
        body = digit(0)
        client.sendall(
            SEARCH + f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n".encode()
        )
        assert client.recv(100).startswith(b"HTTP/1.1 100")
        client.sendall(body)
        assert said_until_the_end(client)[0].startswith(b"HTTP/1.1 200")


def test_the_rest_of_a_body_that_is_answered_is_thrown_away_only_for_a_while(port: int) -> None:
    with connected(port) as client:
        client.sendall(b"POST /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 405")
        took_s = sends_until_it_is_ended(client, b"1000\r\n" + b"x" * 4096 + b"\r\n", 0.01)
        assert took_s < LIMITS.lingering_s + SLACK_S


@pytest.mark.parametrize("reset", [False, True])
def test_who_goes_before_its_answers_come_is_no_failure(
    port: int, reset: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where it has asked more than once: of those requests the server's own code notes the last one alone."""
    body = b'{"image_id": "a"}'
    head = b" HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    waiting = b"POST /v1/search?min_offsets=0:1000000&wait_ms=300" + head + body
    with connected(port) as client:
        client.sendall(waiting + waiting)
        if reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    # Sent later, answered later: by then the others' time is over.
    later = httpx.post(
        f"http://127.0.0.1:{port}/v1/search?min_offsets=0:1000000&wait_ms=700", json={"image_id": "a"}, timeout=10
    )
    assert later.status_code == 412
    assert [record for record in caplog.records if record.name in ("uvicorn.error", "asyncio")] == []


def test_one_connection_answers_many_requests_and_a_stream_stays_open(port: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
        with client.stream("GET", "/v1/index/events") as stream:
            lines = stream.iter_lines()
            assert next(lines)
            for _ in range(4):
                time.sleep(0.4)  # in all longer than any of the limits
                assert client.get("/livez").status_code == 200
        for _ in range(20):
            assert client.post("/v1/search", content=digit(0), headers={"Content-Type": "image/png"}).status_code == 200
    with connected(port) as client_socket:  # pipelined
        client_socket.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        time.sleep(0.2)
        assert client_socket.recv(65536).count(b"HTTP/1.1 200") == 3


def test_beyond_so_many_connections_new_ones_are_refused_and_the_others_go_on(port: int) -> None:
    with contextlib.ExitStack() as stack:
        working = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10))
        assert working.get("/livez").status_code == 200
        for _ in range(LIMITS.count_max - 1):
            stack.enter_context(connected(port))
        with connected(port) as refused:
            assert code_of(said_until_the_end(refused)[0]) == (503, "too-many-connections")
        assert working.get("/livez").status_code == 200
    deadline = time.monotonic() + 10
    while httpx.get(f"http://127.0.0.1:{port}/livez").status_code != 200:
        assert time.monotonic() < deadline


def test_there_are_so_many_event_streams_and_no_more(tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = settings_for(tmp_path_factory.mktemp("streams"))
    Gallery(settings).put({"a": digit(0)})
    ask = b"GET /v1/index/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with running_api(settings), contextlib.ExitStack() as stack:
        streams = [stack.enter_context(connected(settings.api_port)) for _ in range(EVENT_STREAMS_MAX)]
        for stream in streams:
            stream.sendall(ask)
        for stream in streams:
            assert stream.recv(100).startswith(b"HTTP/1.1 200")
        with connected(settings.api_port) as one_more:
            one_more.sendall(ask.replace(b"Host", b"Connection: close\r\nHost"))
            assert code_of(said_until_the_end(one_more)[0]) == (503, "too-many-streams")
        assert httpx.get(f"http://127.0.0.1:{settings.api_port}/v1/index").status_code == 200
        streams[0].close()
        deadline = time.monotonic() + 20
        while True:
            with connected(settings.api_port) as next_one:
                next_one.sendall(ask)
                if next_one.recv(100).startswith(b"HTTP/1.1 200"):
                    break
            assert time.monotonic() < deadline, "a place is free again once its stream has ended"
            time.sleep(0.2)
