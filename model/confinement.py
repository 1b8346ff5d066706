"""Takes from this process, for good, what decoding does not need: network, files, programs, and other processes.

A seccomp filter, which every system call passes: those in `_ALLOWED` go on, and all others fail with EPERM, also ones that kernels will
have some day. What is open stays open, so there is stdout, stderr and the socket to the parent.
"""

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Iterator
from typing import NamedTuple


class _Machine(NamedTuple):
    """A processor as the kernel numbers it, `place` is where its numbers stand in the tables below."""

    audit: int
    place: int


_MACHINES = {"x86_64": _Machine(0xC000003E, 0), "aarch64": _Machine(0xC00000B7, 1)}
# Numbers of system calls: of x86_64 (asm/unistd_64.h), and of aarch64 (asm-generic/unistd.h).
_ALLOWED = {
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    # memory
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "brk": (12, 214),
    "mremap": (25, 216),
    "madvise": (28, 233),
    # threads, which AVIF's and HEIC's decoders start, also when they may use only one
    "futex": (202, 98),
    "set_robust_list": (273, 99),
    "rseq": (334, 293),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "membarrier": (324, 283),
    "exit": (60, 93),
    # time and chance
    "clock_gettime": (228, 113),
    "clock_nanosleep": (230, 115),
    "gettimeofday": (96, 169),
    "setitimer": (38, 103),
    "getrandom": (318, 278),
    # itself, and its end
    "getpid": (39, 172),
    "gettid": (186, 178),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "restart_syscall": (219, 128),
    "exit_group": (231, 94),
}
# Signals to itself alone: abort() and failpoints.
_TO_ITSELF = {"kill": (62, 129), "tgkill": (234, 131)}
_CLONE, _CLONE3 = (56, 220), (435, 435)
_CLONE_THREAD = 0x10000
# What loads a network by its path, and Python modules. Machines that lack a call have None.
_READING: dict[str, tuple[int, int | None]] = {
    "fstat": (5, 80),
    "lseek": (8, 62),
    "pread64": (17, 67),
    "readv": (19, 65),
    "fcntl": (72, 25),
    "ioctl": (16, 29),
    "stat": (4, None),
    "lstat": (6, None),
    "newfstatat": (262, 79),
    "statx": (332, 291),
    "access": (21, None),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "getdents64": (217, 61),
    "getcwd": (79, 17),
    "readlink": (89, None),
    "readlinkat": (267, 78),
    "uname": (63, 160),
    "sysinfo": (99, 179),
}
_OPENAT = (257, 56)

_SECCOMP = (317, 277)
_SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_TSYNC = 1, 1
_PR_SET_NO_NEW_PRIVS = 38
_KILL, _FAIL, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
# Instructions of the filter: load a word, and with a mask; go on if it is as said, else skip so many; end.
_LOAD, _AND, _IF_EQUAL, _END = 0x20, 0x54, 0x15, 0x06
# struct seccomp_data: the call's number, the processor, where the call came from, and its arguments.
_NUMBER_AT, _AUDIT_AT, _ARGUMENTS_AT = 0, 4, 16


def confine(*, may_read: bool = False) -> str:
    """Confine this process and all its threads, for good.

    Args:
        may_read: files may be opened for reading, as what loads a network must.

    Returns:
        Why it is not confined, for people; "" when it is.
    """
    machine = _MACHINES.get(platform.machine())
    if sys.platform != "linux" or machine is None or sys.maxsize < 2**32:
        return f"there is no filter for {platform.system()} on {platform.machine()}"
    instructions = b"".join(_filter(machine, may_read=may_read))
    length = len(instructions) // 8
    code = ctypes.create_string_buffer(instructions, len(instructions))
    program = struct.pack("@HP", length, ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    # Without it only root may have a filter; with it no program that it might start could have more rights.
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, *map(ctypes.c_ulong, (1, 0, 0, 0))) != 0:
        return f"prctl failed: {os.strerror(ctypes.get_errno())}"
    flags = ctypes.c_ulong(_SECCOMP_FILTER_FLAG_TSYNC)
    number = ctypes.c_long(_SECCOMP[machine.place])
    if libc.syscall(number, ctypes.c_ulong(_SECCOMP_SET_MODE_FILTER), flags, program) != 0:
        return f"seccomp failed: {os.strerror(ctypes.get_errno()) if ctypes.get_errno() else 'a thread has a filter of its own'}"
    return ""


def _filter(machine: _Machine, *, may_read: bool) -> Iterator[bytes]:
    """The instructions, of 8 bytes each."""
    place = machine.place
    yield _instruction(_LOAD, _AUDIT_AT)
    yield _instruction(_IF_EQUAL, machine.audit, otherwise_skip=0, then_skip=1)
    yield _instruction(_END, _KILL)  # a call in the manner of another processor, whose numbers mean other things
    yield _instruction(_LOAD, _NUMBER_AT)
    allowed = [*_ALLOWED.values(), *(_READING.values() if may_read else ())]
    for numbers in allowed:
        if (number := numbers[place]) is not None:
            yield from _rule(number, [_instruction(_END, _ALLOW)])
    yield from _rule(
        _CLONE3[place], [_instruction(_END, _FAIL | errno.ENOSYS)]
    )  # its flags cannot be seen: have clone called
    yield from _rule(_CLONE[place], _if_argument(0, _CLONE_THREAD, _CLONE_THREAD))
    for numbers in _TO_ITSELF.values():
        yield from _rule(numbers[place], _if_argument(0, 0xFFFFFFFF, os.getpid()))
    if may_read:
        yield from _rule(_OPENAT[place], _if_argument(2, os.O_ACCMODE | os.O_CREAT | os.O_TRUNC, os.O_RDONLY))
    yield _instruction(_END, _FAIL | errno.EPERM)


def _rule(number: int, then: list[bytes]) -> Iterator[bytes]:
    """What is done about the call of that number, which must end the filter."""
    yield _instruction(_IF_EQUAL, number, otherwise_skip=len(then))
    yield from then


def _if_argument(which: int, mask: int, value: int) -> list[bytes]:
    """Allow the call if the lower half of that argument, which is all that the kernel takes of it, has the value under the mask."""
    return [
        _instruction(_LOAD, _ARGUMENTS_AT + 8 * which),
        _instruction(_AND, mask),
        _instruction(_IF_EQUAL, value, otherwise_skip=1),
        _instruction(_END, _ALLOW),
        _instruction(_END, _FAIL | errno.EPERM),
    ]


def _instruction(code: int, value: int, *, otherwise_skip: int = 0, then_skip: int = 0) -> bytes:
    return struct.pack("@HBBI", code, then_skip, otherwise_skip, value)
