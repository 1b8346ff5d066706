"""When Python looks for garbage in cycles, and what becomes of memory that was freed."""

import contextlib
import ctypes
import gc

# Python's own 700 and 10 have it look through everything that lives again and again while objects come by the ten thousand, a batch
# of records for one: that was a fifth of an embedder's time, and stopped an indexer for up to 0.4 s.
THRESHOLDS = (5_000, 10, 50)
LARGE_SIZE_BYTES = 256 * 1024
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


def collect_rarely() -> None:
    """Leave out of every collection what is loaded now, and collect rarely. Called once, when a program is ready to work."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


def give_back_large_blocks() -> None:
    """Have the C library return large blocks to the system as soon as they are freed.

    glibc would raise that size to 32 MiB by itself after the first such block, and then keep the space of pictures that are
    long gone. Call it before other threads start. Does nothing where the library has no such setting.
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, LARGE_SIZE_BYTES)
        library.mallopt(_M_TRIM_THRESHOLD, LARGE_SIZE_BYTES)
        library.mallopt(_M_ARENA_MAX, 2)
