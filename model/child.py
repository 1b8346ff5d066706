"""Decodes and encodes in a child process that hostile bytes may crash, fill or stall without harm.

The child (`model.decoder`) limits itself: memory by RLIMIT_AS, CPU time an image by a timer whose signal kills it. Parent and
child exchange msgpack frames over a socket, so nothing that the child sends is executed.
"""

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec

from contract.errors import DependencyError

CPU_LIMIT_S = 4.0
# Only a child that is stopped, or a machine that is hopelessly overloaded, comes to this.
WALL_LIMIT_S = 30.0
START_LIMIT_S = 60.0
# Address space: 0.2 GiB before the first image; 25 Mpx take 0.1 GiB a copy in RGBA and there are several at a time.
MEMORY_LIMIT_BYTES = 1024**3
OUT_OF_MEMORY_STATUS = 77
TRIES_ALONE = 2


class Verdict(msgspec.Struct, frozen=True, array_like=True):
    """What became of one image: a pure function of its bytes and the encoder.

    Attributes:
        reason: "" when it was embedded, else the stable code of why not; `detail` says it for people.
        embedding: 128 little-endian float32, empty when refused.
        width, height: pixels, after EXIF orientation.
        pixels_sha256, thumbnail: see `model.images.Picture`.
    """

    reason: str
    detail: str
    embedding: bytes = b""
    media_type: str = ""
    width: int = 0
    height: int = 0
    pixels_sha256: bytes = b""
    thumbnail: bytes = b""


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """The child's frame: one verdict an image in order, and seconds spent on all of them."""

    verdicts: list[Verdict]
    decode_s: float = 0.0
    encode_s: float = 0.0


class Decoder:
    """One child process, started when first needed and again whenever it ended. Thread-safe: callers take turns."""

    def __init__(
        self,
        encoder: str,
        *,
        cpu_limit_s: float = CPU_LIMIT_S,
        memory_limit_bytes: int = MEMORY_LIMIT_BYTES,
        wall_limit_s: float = WALL_LIMIT_S,
    ) -> None:
        self._arguments = [encoder, str(cpu_limit_s), str(memory_limit_bytes)]
        self._wall_limit_s = wall_limit_s
        self._lock = threading.Lock()
        self._child: _Child | None = None

    def verdicts(self, values: Sequence[bytes]) -> Answer:
        """One verdict an image, in order. Blocks.

        When the child ends, every image is tried again alone; one that ends it on both of its own tries as well is
        refused as ``decoder-timeout``, ``decoder-memory`` or ``decoder-crashed``.

        Raises:
            DependencyError: a child cannot be started, which is no image's fault.
        """
        with self._lock:
            try:
                return self._ask(values)
            except _ChildEndedError:
                answers = [self._ask_alone(value) for value in values]
        return Answer(
            [verdict for answer in answers for verdict in answer.verdicts],
            sum(answer.decode_s for answer in answers),
            sum(answer.encode_s for answer in answers),
        )

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._end()

    def _ask_alone(self, value: bytes) -> Answer:
        reason = ""
        for _ in range(TRIES_ALONE):
            try:
                return self._ask([value])
            except _ChildEndedError as ended:
                reason = ended.reason
        return Answer([Verdict(reason, f"The decoder ended on this image, {TRIES_ALONE} times on it alone.")])

    def _ask(self, values: Sequence[bytes]) -> Answer:
        if self._child is None:
            self._child = _start(self._arguments, self._wall_limit_s)
        try:
            return self._child.ask(values)
        except BaseException:
            self._end()  # also when interrupted: the answer to this question must not be taken for the next one's
            raise

    def _end(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None


class _ChildEndedError(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Child:
    def __init__(self, process: "subprocess.Popen[bytes]", pipe: Connection) -> None:
        self._process = process
        self._pipe = pipe

    def limit_wall(self, limit_s: float) -> None:
        """Have reads and writes fail that make no progress for so long. The kernel's own limit: a timer's thread for each
        question would cost as much as a small image."""
        whole_s = int(limit_s)
        timeval = struct.pack("@ll", whole_s, int((limit_s - whole_s) * 1e6))
        with socket.socket(fileno=os.dup(self._pipe.fileno())) as end:
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                end.setsockopt(socket.SOL_SOCKET, option, timeval)

    def ask(self, values: Sequence[bytes]) -> Answer:
        try:
            self._pipe.send_bytes(msgspec.msgpack.encode(values))
            answer = msgspec.msgpack.decode(self._pipe.recv_bytes(), type=Answer)
            if len(answer.verdicts) != len(values):
                raise msgspec.ValidationError(f"{len(answer.verdicts)} verdicts for {len(values)} images")
        except (EOFError, OSError, msgspec.MsgspecError) as error:
            self.end()
            raise _ChildEndedError(_reason(self._process.returncode, isinstance(error, BlockingIOError))) from error
        return answer

    def end(self) -> None:
        self._pipe.close()
        self._process.kill()  # does nothing to the status of one that already ended by itself
        self._process.wait()


def _start(arguments: list[str], wall_limit_s: float) -> _Child:
    """A child that is ready: it has loaded all that it needs, and only then limited itself.

    Raises:
        DependencyError: it cannot be started, or ended before it was ready.
    """
    try:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            command = [sys.executable, "-m", "model.decoder", str(theirs.fileno()), *arguments]
            # Not multiprocessing: a spawned child would import the parent's main module, and with it Kafka's and Cassandra's clients.
            process = subprocess.Popen(
                command, cwd=Path(__file__).parents[1], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
            )
            child = _Child(process, Connection(ours.detach()))
    except OSError as error:
        raise DependencyError("decoder", f"The decoder child cannot be started: {error}.") from error
    try:
        child.limit_wall(START_LIMIT_S)
        child.ask([])
        child.limit_wall(wall_limit_s)
    except _ChildEndedError as ended:
        raise DependencyError(
            "decoder",
            f"The decoder child ended with status {process.returncode} before it was ready; its stderr says why.",
        ) from ended
    return child


def _reason(status: int, is_late: bool) -> str:
    if is_late or status == -signal.SIGPROF:
        return "decoder-timeout"
    return "decoder-memory" if status == OUT_OF_MEMORY_STATUS else "decoder-crashed"
