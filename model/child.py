"""Decodes and encodes in a child process that hostile bytes may crash, fill or stall without harm.

The child limits itself: memory by RLIMIT_AS, CPU time an image by an interval timer whose signal kills it. Parent and child
exchange msgpack frames, so nothing that the child sends is executed.
"""

import contextlib
import io
import multiprocessing
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

import msgspec
from PIL import Image

from contract.errors import RejectedError

CPU_LIMIT_S = 2.0
WALL_LIMIT_S = 60.0
# Address space: 0.2 GiB before the first image; 25 Mpx take 0.1 GiB a copy in RGBA and there are several at a time.
MEMORY_LIMIT_BYTES = 1024**3
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
    """The child's frame: one verdict an image, and seconds spent on all of them."""

    verdicts: list[Verdict]
    decode_s: float
    encode_s: float


class Decoder:
    """One child process, started when first needed and again whenever it ended. Thread-safe: callers take turns."""

    def __init__(
        self, encoder: str, *, cpu_limit_s: float = CPU_LIMIT_S, memory_limit_bytes: int = MEMORY_LIMIT_BYTES
    ) -> None:
        self._encoder = encoder
        self._cpu_limit_s = cpu_limit_s
        self._memory_limit_bytes = memory_limit_bytes
        self._lock = threading.Lock()
        self._child: tuple[BaseProcess, Connection] | None = None

    def verdicts(self, values: Sequence[bytes]) -> Answer:
        """One verdict an image, in order. Blocks.

        When the child dies, every image is tried again alone; one that ends it on each of its own two tries as well is
        refused as ``decoder-timeout`` or ``decoder-crashed``.
        """
        with self._lock:
            try:
                return self._ask(values)
            except _ChildEnded:
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
            except _ChildEnded as ended:
                reason = ended.reason
        detail = f"The decoder ended on this image {TRIES_ALONE} times in a row."
        return Answer([Verdict(reason, detail)], 0.0, 0.0)

    def _ask(self, values: Sequence[bytes]) -> Answer:
        process, pipe = self._child or self._start()
        try:
            pipe.send_bytes(msgspec.msgpack.encode(values))
            if not pipe.poll(WALL_LIMIT_S + self._cpu_limit_s * len(values)):
                self._end()
                raise _ChildEnded("decoder-timeout")
            return msgspec.msgpack.decode(pipe.recv_bytes(), type=Answer)
        except (EOFError, OSError) as error:
            process.join(5)
            is_timeout = process.exitcode == -signal.SIGPROF
            self._end()
            raise _ChildEnded("decoder-timeout" if is_timeout else "decoder-crashed") from error

    def _start(self) -> tuple[BaseProcess, Connection]:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        limits = (self._cpu_limit_s, self._memory_limit_bytes)
        process = context.Process(target=_serve, args=(theirs, self._encoder, *limits), daemon=True, name="decoder")
        process.start()
        theirs.close()
        self._child = process, ours
        return self._child

    def _end(self) -> None:
        if self._child is not None:
            process, pipe = self._child
            self._child = None
            pipe.close()
            process.kill()
            process.join()


class _ChildEnded(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _serve(pipe: Connection, encoder_name: str, cpu_limit_s: float, memory_limit_bytes: int) -> None:
    """The child: answers frames until the parent is gone, which closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides when to end
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    from model.encoder import load_encoder
    from model.images import Picture, decode

    encoder = load_encoder(encoder_name)

    def judge(value: bytes) -> tuple[Verdict, float, float]:
        began = time.perf_counter()
        picture: Picture | None = None
        try:
            picture = decode(value)
            decoded = time.perf_counter()
            embedding = encoder.embed(encoder.pixels(picture.image)).astype("<f4").tobytes()
        except RejectedError as error:
            return Verdict(error.reason, error.detail), time.perf_counter() - began, 0.0
        except MemoryError:
            detail = "Preparing the image took more memory than an image may."
            return Verdict("decoder-memory", detail), time.perf_counter() - began, 0.0
        verdict = Verdict(
            "",
            "",
            embedding,
            picture.media_type,
            picture.width,
            picture.height,
            picture.pixels_sha256,
            picture.thumbnail,
        )
        return verdict, decoded - began, time.perf_counter() - decoded

    _warm_up(judge)
    resource.setrlimit(resource.RLIMIT_AS, (memory_limit_bytes, memory_limit_bytes))
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            values = msgspec.msgpack.decode(pipe.recv_bytes(), type=list[bytes])
            judged = []
            for value in values:
                signal.setitimer(signal.ITIMER_PROF, cpu_limit_s)
                judged.append(judge(value))
            signal.setitimer(signal.ITIMER_PROF, 0)
            verdicts, decode_s, encode_s = zip(*judged, strict=True) if judged else ((), (), ())
            pipe.send_bytes(msgspec.msgpack.encode(Answer(list(verdicts), sum(decode_s), sum(encode_s))))
    os._exit(0)


def _warm_up(judge: Callable[[bytes], object]) -> None:
    """Load the interpreter and Pillow's plugins, so that neither counts as an image's time."""
    for mode, kind in (("L", "PNG"), ("RGB", "JPEG"), ("RGB", "WEBP")):
        buffer = io.BytesIO()
        Image.new(mode, (28, 28)).save(buffer, kind)
        judge(buffer.getvalue())
