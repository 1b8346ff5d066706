"""The relay that stands between parts in tests does what its weather says."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.relay import ANSWERS, REQUESTS, Relay, Weather


@pytest.fixture
def echo() -> Iterator[int]:
    """Port of a server that answers what it is told."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    def answer(connection: socket.socket) -> None:
        with connection:
            try:
                while received := connection.recv(65536):
                    connection.sendall(received)
            except OSError:
                pass

    threading.Thread(target=serve, daemon=True).start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()


@pytest.fixture
def relay(echo: int) -> Iterator[Relay]:
    with Relay(echo) as relay:
        yield relay


def connect(relay: Relay) -> socket.socket:
    return socket.create_connection(("127.0.0.1", relay.port), timeout=0.3)


def says(connection: socket.socket, text: bytes = b"hello") -> bytes:
    """The answer; b"" when there is none in time."""
    connection.sendall(text)
    try:
        return connection.recv(65536)
    except TimeoutError:
        return b""


def test_in_clear_weather_all_is_passed_on(relay: Relay) -> None:
    with connect(relay) as one, connect(relay) as other:
        assert says(one, b"one") == b"one" and says(other, b"other") == b"other"


def test_delay_and_a_slow_link_take_their_time_both_ways(relay: Relay) -> None:
    relay.weather = Weather(delay_s=0.05, bytes_per_s=1000)
    with connect(relay) as connection:
        began_s = time.monotonic()
        assert says(connection, b"x" * 50) == b"x" * 50
        assert time.monotonic() - began_s > 2 * (0.05 + 0.05)


@pytest.mark.parametrize("direction", [REQUESTS, ANSWERS])
def test_what_is_held_comes_when_it_clears_up(relay: Relay, direction: str) -> None:
    with connect(relay) as connection:
        relay.weather = Weather(held=frozenset({direction}))
        assert says(connection) == b""
        relay.mend()
        assert connection.recv(65536) == b"hello"


def test_a_cut_resets_what_is_open_and_refuses_more_until_it_is_mended(relay: Relay) -> None:
    with connect(relay) as connection:
        assert says(connection) == b"hello"
        relay.cut()
        with pytest.raises(ConnectionResetError):
            connection.recv(65536)
        with pytest.raises(ConnectionResetError), connect(relay) as another:
            another.recv(65536)
    relay.mend()
    with connect(relay) as connection:
        assert says(connection) == b"hello"


def test_an_orphan_hears_nothing_ever_while_new_connections_are_served_again(relay: Relay) -> None:
    with connect(relay) as orphan, connect(relay) as later:
        assert says(orphan) == b"hello"
        relay.orphan()
        assert says(orphan) == b""
        with connect(relay) as deaf:
            assert says(deaf) == b""
            relay.mend()
            assert says(deaf) == b"" and says(orphan) == b""
        assert says(later) in (b"", b"hello")
        with connect(relay) as connection:
            assert says(connection) == b"hello"


def test_a_server_that_is_not_there_is_told_by_a_reset_and_found_when_it_comes(echo: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with Relay(port) as relay:
        with pytest.raises(ConnectionResetError), connect(relay) as connection:
            connection.recv(65536)
        with socket.create_server(("127.0.0.1", port)) as server, connect(relay):
            server.settimeout(1)
            server.accept()[0].close()
