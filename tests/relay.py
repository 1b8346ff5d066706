"""A way to a server of loopback, or to several in turn, that can be cut, slowed down, and made to lose what goes one way or both."""

import itertools
import socket
import struct
import threading
import time
from dataclasses import dataclass

REQUESTS, ANSWERS = "requests", "answers"
_CHUNK_BYTES = 65536
# Closed with this, a connection is reset: the other side is told by RST and not by FIN.
_RESETTING = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Weather:
    """How a relay passes bytes on.

    Attributes:
        delay_s: so late each of them comes.
        bytes_per_s: of each connection and direction; 0 is no bound.
        held: directions in which they wait until it clears up, as on a network that is cut and then resends.
        is_refusing: new connections are ended at once.
        is_deaf: new connections are taken, and nothing ever comes of them.
    """

    delay_s: float = 0.0
    bytes_per_s: int = 0
    held: frozenset[str] = frozenset()
    is_refusing: bool = False
    is_deaf: bool = False


CLEAR = Weather()


class Relay:
    """Passes TCP connections on to ports of loopback, one after the other, as its weather lets it."""

    def __init__(self, *targets: int) -> None:
        self._targets = itertools.cycle(targets)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._weather = CLEAR
        self._changed = threading.Condition()
        self._open: list[_Pair] = []

    def __enter__(self) -> "Relay":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._server.close()

    @property
    def weather(self) -> Weather:
        """How bytes are passed on now; it can be set."""
        return self._weather

    @weather.setter
    def weather(self, weather: Weather) -> None:
        with self._changed:
            self._weather = weather
            self._changed.notify_all()

    def cut(self) -> None:
        """Reset all connections and refuse new ones."""
        self.weather = Weather(is_refusing=True)
        self.reset()

    def reset(self) -> None:
        """Reset all connections."""
        for pair in self._take_open():
            pair.end(resets=True)

    def lead_to(self, *targets: int) -> None:
        """Pass connections on to other ports, and reset all that there are."""
        self._targets = itertools.cycle(targets)
        self.reset()

    def orphan(self) -> None:
        """Have the server lose all connections, and the clients not know it: what they send goes nowhere. New ones too."""
        self.weather = Weather(is_deaf=True)
        for pair in self._take_open():
            pair.is_orphan = True
            close(pair.server, resets=True)

    def mend(self) -> None:
        """Pass connections on again."""
        self.weather = CLEAR

    def _take_open(self) -> "list[_Pair]":
        with self._changed:
            taken, self._open = self._open, []
            return taken

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        if self._weather.is_refusing:
            close(client, resets=True)
            return
        if self._weather.is_deaf:
            swallow(client)
            return
        try:
            server = socket.create_connection(("127.0.0.1", next(self._targets)))
        except OSError:
            close(client, resets=True)
            return
        for each in (client, server):
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pair = _Pair(client, server)
        with self._changed:
            self._open = [each for each in self._open if not each.is_ended] + [pair]
        if self._weather.is_refusing:  # just now: `cut` may not have seen it
            pair.end(resets=True)
        threading.Thread(target=self._pass, args=(pair, server, client, ANSWERS), daemon=True).start()
        self._pass(pair, client, server, REQUESTS)

    def _pass(self, pair: "_Pair", source: socket.socket, sink: socket.socket, direction: str) -> None:
        """Pass bytes on until either side ends."""
        try:
            while received := source.recv(_CHUNK_BYTES):
                self._wait(direction, len(received))
                if not pair.is_orphan:
                    sink.sendall(received)
        except OSError:
            pass
        if not pair.is_orphan:
            pair.end()
        elif direction == REQUESTS:
            close(source)

    def _wait(self, direction: str, size: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: direction not in self._weather.held)
        weather = self._weather
        late_s = weather.delay_s + (size / weather.bytes_per_s if weather.bytes_per_s else 0.0)
        if late_s:
            time.sleep(late_s)  # the weather itself


class _Pair:
    """A connection of a client with the one to the server that belongs to it."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.is_orphan = self.is_ended = False

    def end(self, *, resets: bool = False) -> None:
        if self.is_ended:  # by a reset, which must not become an ordinary end
            return
        self.is_ended = True
        close(self.client, resets=resets)
        close(self.server, resets=resets)


def swallow(source: socket.socket) -> None:
    """Read until the other side ends, and do nothing with it."""
    try:
        while source.recv(_CHUNK_BYTES):
            pass
    except OSError:
        pass
    close(source)


def close(connection: socket.socket, *, resets: bool = False) -> None:
    """End a connection from whatever thread."""
    try:
        if resets:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESETTING)
        # Either wakes whoever reads; the first one sends nothing, so that RST comes alone.
        connection.shutdown(socket.SHUT_RD if resets else socket.SHUT_RDWR)
    except OSError:
        pass
    connection.close()
