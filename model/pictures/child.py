"""Decodes and encodes in a child process that hostile bytes may crash, fill or stall without harm; what all such children need.

A child (`model.pictures.decoder`, `model.verdicts.explainer`) limits itself: memory by RLIMIT_AS, CPU time an image by a timer whose signal kills it.
Parent and child exchange msgpack frames over a socket, so nothing that the child sends is executed.
"""

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np

from contract.errors import DependencyError
from contract.settings import absolute
from model.encoder import load_encoder

# Of an image without pixels, and again as much for every 16 million: 8.25 s where there are 50, which take up to 2.5.
CPU_LIMIT_S = 2.0
CPU_LIMIT_PIXELS = 16_000_000
# Only a child that is stopped, or a machine that is hopelessly overloaded, comes to this.
WALL_LIMIT_S = 30.0
START_LIMIT_S = 60.0
# Address space: 0.2 GiB before the first image; of 50 Mpx a WebP takes most, 810 MiB in all, of which 651 are in use at once.
MEMORY_LIMIT_BYTES = 928 * 1024**2
# What one question holds at most, unless it is a single image: the child has it beside the picture.
QUESTION_SIZE_BYTES_MAX = 8 * 1024 * 1024
OUT_OF_MEMORY_STATUS = 77
TRIES_ALONE = 2


T = TypeVar("T")


class Verdict(msgspec.Struct, frozen=True, array_like=True):
    """What became of one image: a pure function of its bytes and the encoder.

    Attributes:
        reason: "" when it was embedded, else the stable code of why not; `detail` says it for people.
        embedding: little-endian float32, as many as the encoder's dimensions and all finite; empty when refused.
        width, height: pixels, after EXIF orientation.
        pixels_sha256, thumbnail: see `model.pictures.images.Picture`.
        is_truncated: see `model.pictures.images.Picture`.
        hypotheses: embeddings of what the image may be beside itself, by name (`model.pictures.hypotheses`), when they were asked for.
    """

    reason: str
    detail: str
    embedding: bytes = b""
    media_type: str = ""
    width: int = 0
    height: int = 0
    pixels_sha256: bytes = b""
    thumbnail: bytes = b""
    hypotheses: dict[str, bytes] = {}
    is_truncated: bool = False


class Images(msgspec.Struct, frozen=True, array_like=True):
    """A question to the decoder: encoded images, and whether each one's hypotheses are embedded too."""

    values: list[bytes]
    with_hypotheses: bool = False


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """The child's frame: one verdict an image in order, and seconds spent on all of them."""

    verdicts: list[Verdict]
    decode_s: float = 0.0
    encode_s: float = 0.0


class Shown(msgspec.Struct, frozen=True, array_like=True):
    """An encoded image, or its thumbnail, and the pixels (`model.pictures.images.Picture`) of the image itself."""

    image: bytes
    width: int
    height: int


class Guarded:
    """One child process, started when first needed and again whenever it ended. Thread-safe: callers take turns."""

    def __init__(
        self,
        program: str,
        arguments: list[str],
        wall_limit_s: float,
        nothing: object,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._command = [program, *arguments]
        self._environment = environment or {}
        self._nothing = nothing
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
            self._child = _start(self._command, self._environment, self._nothing, self._wall_limit_s)
        try:
            return self._child.ask(question, answer)
        except BaseException:
            self._end()  # also when interrupted: the answer to this question must not be taken for the next one's
            raise

    def _end(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None


class Decoder(Guarded):
    """Judges and embeds images in a child of its own (`model.pictures.decoder`).

    Args:
        accept_truncated: take a JPEG or PNG that lacks its end; None leaves it to the encoder's card.
        encoders_dir: folder of the imported encoders; None is what the environment's settings name.
    """

    def __init__(
        self,
        encoder: str,
        *,
        encoders_dir: Path | None = None,
        accept_truncated: bool | None = None,
        cpu_limit_s: float = CPU_LIMIT_S,
        memory_limit_bytes: int = MEMORY_LIMIT_BYTES,
        wall_limit_s: float = WALL_LIMIT_S,
    ) -> None:
        truncated = "" if accept_truncated is None else str(accept_truncated).lower()
        # The child runs in another folder.
        imported = "" if encoders_dir is None else str(absolute(encoders_dir))
        arguments = [encoder, truncated, str(cpu_limit_s), str(memory_limit_bytes), imported]
        super().__init__("model.pictures.decoder", arguments, wall_limit_s, Images([]))
        self._encoder, self._encoders_dir = encoder, encoders_dir

    def verdicts(self, values: Sequence[bytes], *, with_hypotheses: bool = False) -> Answer:
        """One verdict an image, in order, on request with the embeddings of its hypotheses. Blocks.

        When the child ends, every image is tried again alone; one that ends it on both of its own tries as well is
        refused as ``decoder-timeout``, ``decoder-memory`` or ``decoder-crashed``.

        Raises:
            DependencyError: a child cannot be started, which is no image's fault.
        """
        answers: list[Answer] = []
        with self._lock:
            for part in _parts(values):
                try:
                    answers.append(self._ask(Images(part, with_hypotheses)))
                except ChildEndedError:
                    answers += [self._ask_alone(Images([value], with_hypotheses)) for value in part]
        return Answer(
            [verdict for answer in answers for verdict in answer.verdicts],
            sum(answer.decode_s for answer in answers),
            sum(answer.encode_s for answer in answers),
        )

    @cached_property
    def _dimensions(self) -> int:
        return load_encoder(self._encoder, self._encoders_dir).dimensions

    def _ask_alone(self, image: Images) -> Answer:
        reason = ""
        for _ in range(TRIES_ALONE):
            try:
                return self._ask(image)
            except ChildEndedError as ended:
                reason = ended.reason
        return Answer([Verdict(reason, f"The decoder ended on this image, {TRIES_ALONE} times on it alone.")])

    def _ask(self, images: Images) -> Answer:
        answer = self._call(images, Answer)
        if len(answer.verdicts) != len(images.values):
            self._end()
            raise ChildEndedError("decoder-crashed")
        verdicts = [_with_sound_embedding(verdict, self._dimensions) for verdict in answer.verdicts]
        return Answer(verdicts, answer.decode_s, answer.encode_s)


class ChildEndedError(Exception):
    """The child ended on a question; `reason` is the code of why, for images that are refused for it."""

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

    def ask(self, question: object, answer: type[T]) -> T:
        try:
            self._pipe.send_bytes(msgspec.msgpack.encode(question))
            return msgspec.msgpack.decode(self._pipe.recv_bytes(), type=answer)
        except (EOFError, OSError, msgspec.MsgspecError) as error:
            self.end()
            raise ChildEndedError(_reason(self._process.returncode, isinstance(error, BlockingIOError))) from error

    def end(self) -> None:
        self._pipe.close()
        self._process.kill()  # does nothing to the status of one that already ended by itself
        self._process.wait()


def _start(
    program_and_arguments: list[str], environment: Mapping[str, str], nothing: object, wall_limit_s: float
) -> _Child:
    """A child that is ready, for it answered `nothing`: it has loaded all that it needs, and only then limited itself.

    Raises:
        DependencyError: it cannot be started, or ended before it was ready.
    """
    try:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            program, *arguments = program_and_arguments
            command = [sys.executable, "-m", program, str(theirs.fileno()), *arguments]
            # Not multiprocessing: a spawned child would import the parent's main module, and with it Kafka's and Cassandra's clients.
            process = subprocess.Popen(
                command,
                cwd=Path(__file__).parents[2],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={**os.environ, **environment},
            )
            child = _Child(process, Connection(ours.detach()))
    except OSError as error:
        raise DependencyError("decoder", f"The decoder child cannot be started: {error}.") from error
    try:
        child.limit_wall(START_LIMIT_S)
        child.ask(nothing, object)
        child.limit_wall(wall_limit_s)
    except ChildEndedError as ended:
        raise DependencyError(
            "decoder",
            f"The decoder child ended with status {process.returncode} before it was ready; its stderr says why.",
        ) from ended
    return child


def _parts(values: Sequence[bytes]) -> Iterator[list[bytes]]:
    """The values in order, in questions of bounded size; a single empty one where there are none, which starts a child."""
    part: list[bytes] = []
    size_bytes = 0
    for value in values:
        size_bytes += len(value)
        if part and size_bytes > QUESTION_SIZE_BYTES_MAX:
            yield part
            part, size_bytes = [], len(value)
        part.append(value)
    yield part


def _with_sound_embedding(verdict: Verdict, dimensions: int) -> Verdict:
    """The verdict, or a refusal where its embedding is not what the index can hold: an encoder's fault, whatever the image."""
    if verdict.reason:
        return verdict
    for embedding in (verdict.embedding, *verdict.hypotheses.values()):
        is_whole = len(embedding) == 4 * dimensions
        if not is_whole or not np.isfinite(np.frombuffer(embedding, "<f4")).all():
            what = "numbers that are not finite" if is_whole else f"{len(embedding)} bytes"
            return Verdict("encoder-failed", f"The encoder gave {what}, expected {dimensions} finite float32.")
    return verdict


def _reason(status: int, is_late: bool) -> str:
    if is_late or status == -signal.SIGPROF:
        return "decoder-timeout"
    return "decoder-memory" if status == OUT_OF_MEMORY_STATUS else "decoder-crashed"
