"""A child process that hostile bytes may crash, fill or stall without harm: the half of the process that starts it.

The other half is the child's program (`model.limited_program`), which limits itself: its memory by RLIMIT_AS, its CPU time a question by a
timer whose signal ends it, and what it may ask of the system by a filter (`model.confinement`). Both exchange msgpack frames over a socket,
so nothing that the child sends is executed. What it writes to its stderr, where libraries complain of hostile files, is dropped but for the
end, which is told when the child crashes.
"""

import contextlib
import os
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog

from contract.errors import DependencyError
from contract.version import VERSION

# Of an image without pixels, and again as much for every 16 million: 8.25 s where there are 50, which take up to 2.5.
CPU_LIMIT_S = 2.0
CPU_LIMIT_PIXELS = 16_000_000
# Only a child that is stopped, or a machine that is hopelessly overloaded, comes to this.
WALL_LIMIT_S = 30.0
START_LIMIT_S = 60.0
# Address space: 0.2 GiB before the first image; of 50 Mpx a WebP takes most, 810 MiB in all, of which 651 are in use at once.
MEMORY_LIMIT_BYTES = 928 * 1024**2
OUT_OF_MEMORY_STATUS = 77
# A question that ends its child is asked so often before it is given up.
TRIES = 2
# The end of what a child wrote to its stderr, which is kept.
SAID_SIZE_BYTES_MAX = 8192

T = TypeVar("T")

logger = structlog.get_logger()


class Greeting(msgspec.Struct, frozen=True, tag="lookalike"):
    """The first frame of either side. A child is started from the files that are there then, which may not be its parent's any more.

    Attributes:
        unconfined: why the child is not confined (`model.confinement`); "" where it is.
    """

    version: str = VERSION
    unconfined: str = ""


class LimitedProcess:
    """One child process, started when first needed and again whenever it ended. Thread-safe: callers take turns.

    Args:
        name: what errors call it.
        program: the module that the child runs, with these arguments after the number of its socket.
        environment: what is added to this process's own.
    """

    def __init__(
        self,
        name: str,
        *,
        program: str,
        arguments: Sequence[str],
        wall_limit_s: float,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._name = name
        self._command = [program, *arguments]
        self._environment = environment or {}
        self._wall_limit_s = wall_limit_s
        self._lock = threading.Lock()
        self._child: _Child | None = None

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._end()

    def _call(self, question: object, answer: type[T]) -> T:
        """What the child answers; the caller holds the lock."""
        if self._child is None:
            self._child = self._started()
        try:
            return self._child.ask(question, answer)
        except BaseException:
            self._end()  # also when interrupted: the answer to this question must not be taken for the next one's
            raise

    def _call_again(self, question: object, answer: type[T]) -> T | None:
        """As `_call`, tried again when the child ends; None when it ended every time. The caller holds the lock."""
        for _ in range(TRIES):
            with contextlib.suppress(ProcessEndedError):
                return self._call(question, answer)
        return None

    def _room_bytes(self) -> int | None:
        """Of the address space that the running child may take, what it never took yet; None where the system does not tell."""
        return None if self._child is None else self._child.room_bytes()

    def _end(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None

    def _started(self) -> "_Child":
        """A child that is ready, for it greeted: it has loaded all that it needs, and only then limited and confined itself.

        Raises:
            DependencyError: it cannot be started, or ended before it was ready.
        """
        try:
            ours, theirs = socket.socketpair()
            with ours, theirs:
                program, *arguments = self._command
                # Not multiprocessing: a spawned child would import the parent's main module, and with it Kafka's and Cassandra's clients.
                process = subprocess.Popen(
                    [sys.executable, "-m", program, str(theirs.fileno()), *arguments],
                    cwd=Path(__file__).parents[1],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    bufsize=0,
                    env={**os.environ, **self._environment},
                )
                child = _Child(self._name, process, Connection(ours.detach()))
        except OSError as error:
            raise DependencyError(self._name, f"The {self._name} child cannot be started: {error}.") from error
        try:
            child.limit_wall(START_LIMIT_S)
            greeting = child.ask(Greeting(), Greeting)
            if greeting.version != VERSION:
                child.end()
                raise DependencyError(
                    self._name,
                    f"The {self._name} child is of version {greeting.version}, this process of {VERSION}: the program's files were "
                    "replaced while it ran. Restart it.",
                )
            child.limit_wall(self._wall_limit_s)
        except ProcessEndedError as ended:
            raise DependencyError(
                self._name,
                f"The {self._name} child ended with status {process.returncode} before it was ready: {child.said[-1000:] or 'no word'}",
            ) from ended
        if greeting.unconfined:
            _say_unconfined(self._name, greeting.unconfined)
        return child


class ProcessEndedError(Exception):
    """The child ended on a question; `reason` is ``timeout``, ``memory`` or ``crashed``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Child:
    def __init__(self, name: str, process: "subprocess.Popen[bytes]", pipe: Connection) -> None:
        self._name = name
        self._process = process
        self._pipe = pipe
        self._said = b""
        self._listener = threading.Thread(target=self._listen, daemon=True, name=f"{name}-stderr")
        self._listener.start()

    @property
    def said(self) -> str:
        """The end of what it wrote to its stderr; all of it is there once the child has ended."""
        return self._said.decode(errors="replace").strip()

    def _listen(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stderr:
            while said := stderr.read(4096):  # what there is
                self._said = (self._said + said)[-SAID_SIZE_BYTES_MAX:]

    def limit_wall(self, limit_s: float) -> None:
        """Have reads and writes fail that make no progress for so long. The kernel's own limit: a timer's thread for each
        question would cost as much as a small image."""
        whole_s = int(limit_s)
        timeval = struct.pack("@ll", whole_s, int((limit_s - whole_s) * 1e6))
        with socket.socket(fileno=os.dup(self._pipe.fileno())) as end:
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                end.setsockopt(socket.SOL_SOCKET, option, timeval)

    def ask(self, question: object, answer: type[T]) -> T:
        try:
            self._pipe.send_bytes(msgspec.msgpack.encode(question))
            return msgspec.msgpack.decode(self._pipe.recv_bytes(), type=answer)
        except (EOFError, OSError, msgspec.MsgspecError) as error:
            self.end()
            reason = _reason(self._process.returncode, isinstance(error, BlockingIOError))
            if reason == "crashed":
                said = self.said.splitlines()
                logger.warning("child_crashed", child=self._name, status=self._process.returncode, said=said[-20:])
            raise ProcessEndedError(reason) from error

    def room_bytes(self) -> int | None:
        try:
            status = Path(f"/proc/{self._process.pid}/status").read_text()
            limit_bytes, _ = resource.prlimit(self._process.pid, resource.RLIMIT_AS)
        except (OSError, AttributeError):  # another system than Linux, or the child has just ended
            return None
        peak = re.search(r"^VmPeak:\s+(\d+) kB$", status, re.MULTILINE)
        return None if peak is None else limit_bytes - int(peak[1]) * 1024

    def end(self) -> None:
        self._pipe.close()
        self._process.kill()  # does nothing to the status of one that already ended by itself
        self._process.wait()
        self._listener.join()


@cache
def _say_unconfined(name: str, why: str) -> None:
    """Once: a child is started again whenever it ended."""
    logger.warning(
        "child_not_confined",
        child=name,
        why=why,
        consequence="its memory and time are limited, but what takes it over may use the network and write files",
    )


def _reason(status: int, is_late: bool) -> str:
    if is_late or status == -signal.SIGPROF:
        return "timeout"
    return "memory" if status == OUT_OF_MEMORY_STATUS else "crashed"
