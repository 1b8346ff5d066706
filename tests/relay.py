"""A way to a server of loopback that can be cut."""

import socket
import threading


class Relay:
    """Passes TCP connections on to a port of loopback until it is cut."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._is_cut = False
        self._open: list[socket.socket] = []

    def __enter__(self) -> "Relay":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._server.close()

    def cut(self) -> None:
        """End all connections and refuse new ones."""
        self._is_cut = True
        for connection in self._open:
            close(connection)
        self._open.clear()

    def mend(self) -> None:
        """Pass connections on again."""
        self._is_cut = False

    def _accept(self) -> None:
        while True:
            try:
                ours, _ = self._server.accept()
            except OSError:
                return
            if self._is_cut:
                ours.close()
                continue
            theirs = socket.create_connection(("127.0.0.1", self._target))
            self._open += [ours, theirs]
            if self._is_cut:  # just now: `cut` may not have seen them
                close(ours)
                close(theirs)
            for source, sink in ((ours, theirs), (theirs, ours)):
                threading.Thread(target=copy, args=(source, sink), daemon=True).start()


def copy(source: socket.socket, sink: socket.socket) -> None:
    """Pass bytes on until either side ends."""
    try:
        while received := source.recv(65536):
            sink.sendall(received)
    except OSError:
        pass
    close(source)
    close(sink)


def close(connection: socket.socket) -> None:
    """End a connection from whatever thread."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    connection.close()
