"""What becomes of memory that was freed."""

import contextlib
import ctypes

LARGE_SIZE_BYTES = 256 * 1024
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


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
