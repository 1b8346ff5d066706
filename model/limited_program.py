"""A child process that limits and confines itself and answers frames: the child's half. `model.limited_process` starts it."""

import contextlib
import os
import resource
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import TypeVar

import msgspec

from contract.version import VERSION
from model.confinement import confine
from model.limited_process import CPU_LIMIT_PIXELS, OUT_OF_MEMORY_STATUS, Greeting
from runtime.memory import give_back_large_blocks

T = TypeVar("T")


def address_space_bytes() -> int:
    """What this process takes of the memory that RLIMIT_AS limits."""
    import psutil  # most children need it not

    return int(psutil.Process().memory_info().vms)


def answer_questions(
    descriptor: int,
    memory_limit_bytes: int,
    question: type[T],
    answer: Callable[[T], object],
    *,
    may_read: bool = False,
) -> None:
    """Answer frames until the parent closes its end, which it also does by dying. Everything needed is loaded before.

    `may_read`: see `model.confinement.confine`.
    """
    # Ctrl-C and a supervisor's stop reach the whole process group; the parent decides when this one ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pipe = Connection(descriptor)
    resource.setrlimit(resource.RLIMIT_AS, (memory_limit_bytes, memory_limit_bytes))
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        _greet(pipe, confine(may_read=may_read))
        while True:
            # Nothing of a question is kept while the next one is awaited: it would lack memory then.
            pipe.send_bytes(msgspec.msgpack.encode(answer(msgspec.msgpack.decode(pipe.recv_bytes(), type=question))))


def _greet(pipe: Connection, unconfined: str) -> None:
    """Answer the parent's greeting, by which it tells whether both are of one version. Lookalike 0.2 sends none: it would take the
    answer for that to its first question, and so on, hence this process ends."""
    frame = pipe.recv_bytes()
    try:
        msgspec.msgpack.decode(frame, type=Greeting)
    except msgspec.MsgspecError:
        sys.exit(f"error: this child is of version {VERSION}, its parent of an earlier one; restart that.")
    pipe.send_bytes(msgspec.msgpack.encode(Greeting(unconfined=unconfined)))


def limit_cpu(limit_s: float, pixels: int = 0) -> None:
    """Have the process end after so much CPU time from now on, and again as much for every 16 million pixels; 0 for never."""
    signal.setitimer(signal.ITIMER_PROF, limit_s * (1 + pixels / CPU_LIMIT_PIXELS))  # SIGPROF's default action ends it


def ended_when_out_of_memory(main: Callable[[], None]) -> None:
    """Run `main`; end with a status of its own when memory is out."""
    give_back_large_blocks()
    try:
        main()
    except MemoryError:
        os._exit(OUT_OF_MEMORY_STATUS)  # at once: a normal end needs memory too
