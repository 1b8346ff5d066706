"""The decoder child, whole and confined as it is, taken over: an "image" that begins with `attack:` has it try what the rest names.

What became of the attempt stands in the answer's `detail`: the name of an errno, or "done".
"""

import ctypes
import errno
import os
import platform
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from model.encoder import Encoder
from model.limited_program import ended_when_out_of_memory
from model.pictures import decoder_program
from model.pictures.decoder import Decoded, Decoder, DecoderAnswer, DecoderQuestion

PREFIX = b"attack:"
_PLACE = 1 if platform.machine() == "aarch64" else 0
_libc = ctypes.CDLL(None, use_errno=True)
_decoders_own = decoder_program._answer


class TakenOver(Decoder):
    """A decoder whose child does what it is told. Without confinement, where `is_confined` is False: to it this machine is unknown."""

    def __init__(self, *, is_confined: bool = True) -> None:
        super().__init__("report-autoencoder")
        self._command[0] = "tests.attacker"
        self._environment = {"ATTACKER_CONFINED": str(is_confined)}

    def attempt(self, name: str, folder: Path) -> str:
        """What became of that attack, with files in that folder: an errno's name, "done", or the reason of an ended child."""
        (image,) = self.decode([PREFIX + f"{name}:{folder}".encode()]).images
        return image.detail if image.reason == "attacked" else image.reason


def _call(numbers: tuple[int, int], *arguments: int) -> None:
    number = ctypes.c_long(numbers[_PLACE])
    if _libc.syscall(number, *map(ctypes.c_ulong, arguments)) == -1:
        raise OSError(ctypes.get_errno(), "")


def _fork() -> None:
    if (child := os.fork()) == 0:
        os._exit(0)
    os.waitpid(child, 0)


# Those that are done by a process that is not confined, whoever runs it, and do no harm there.
ORDINARY: dict[str, Callable[[Path], object]] = {
    "open a socket": lambda _: socket.socket().close(),
    "open a local socket": lambda _: socket.socket(socket.AF_UNIX).close(),
    "open a pair of sockets": lambda _: socket.socketpair(),
    "make a file": lambda folder: (folder / "new").write_bytes(b"x"),
    "append to a file": lambda folder: (folder / "old").open("ab").close(),
    "empty a file": lambda folder: os.truncate(folder / "old", 0),
    "make a file in memory": lambda _: os.memfd_create("x"),
    "make a folder": lambda folder: (folder / "folder").mkdir(),
    "delete a folder": lambda folder: (folder / "folder").rmdir(),
    "make a link": lambda folder: (folder / "link").symlink_to("/"),
    "make a hard link": lambda folder: (folder / "hard").hardlink_to(folder / "old"),
    "make a pipe": lambda folder: os.mkfifo(folder / "pipe"),
    "change a file's mode": lambda folder: (folder / "old").chmod(0o600),
    "set a file's times": lambda folder: os.utime(folder / "old"),
    "read a file": lambda folder: (folder / "old").read_bytes(),
    "list a folder": lambda folder: os.listdir(folder),
    "look at a file": lambda folder: (folder / "old").stat(),
    "read its parent's environment": lambda _: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
    "rename a file": lambda folder: (folder / "old").rename(folder / "renamed"),
    "delete a file": lambda folder: (folder / "renamed").unlink(),
    "fork": lambda _: _fork(),
    "start a program": lambda _: os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0),
    "kill its parent": lambda _: os.kill(os.getppid(), 0),
    "reach its parent's limits": lambda _: _call((302, 261), os.getppid(), 0, 0, 0),
    "duplicate a descriptor": lambda _: os.close(os.dup(2)),
    "change the folder": lambda _: os.chdir("."),
    "signal its parent's thread": lambda _: _call((234, 131), os.getppid(), os.getppid(), 0),
    "open its parent as a descriptor": lambda _: _call((434, 434), os.getppid(), 0),
}
ATTACKS: dict[str, Callable[[Path], object]] = ORDINARY | {
    "run a program": lambda _: os.execv("/bin/true", ["true"]),
    "kill everybody": lambda _: os.kill(-1, 0),
    "become somebody": lambda _: os.setuid(1),
    "trace its parent": lambda _: _call((101, 117), 16, os.getppid(), 0, 0),
    "read its parent's memory": lambda _: _call((310, 270), os.getppid(), 0, 0, 0, 0, 0),
    "write its parent's memory": lambda _: _call((311, 271), os.getppid(), 0, 0, 0, 0, 0),
    "set up an io_uring": lambda _: _call((425, 425), 8, 0),
    "load a program into the kernel": lambda _: _call((321, 280), 0, 0, 0),
    "watch performance": lambda _: _call((298, 241), 0, 0, 0, 0, 0),
    "handle page faults": lambda _: _call((323, 282), 0),
    "enter a namespace": lambda _: _call((272, 97), 0x10000000),
    "mount": lambda _: _call((165, 40), 0, 0, 0, 0, 0),
    "share memory": lambda _: _call((29, 194), 0, 4096, 0o1600),
    "use keys of the kernel": lambda _: _call((250, 219), 0, 0, 0),
    "clone a process": lambda _: _call((56, 220), 17, 0, 0, 0, 0),
    "send a descriptor": lambda _: _call((46, 211), 2, 0, 0),
    "type on the terminal": lambda _: _call((16, 29), 2, 0x5412, 0),
    "change its filter": lambda _: _call((317, 277), 1, 0, 0),
    "ask what kernels may do one day": lambda _: _call((999, 999)),
    "ask in the manner of x32": lambda _: _call((0x40000000 | 41, 999), 2, 1, 0),
}


def main() -> None:
    """Run the decoder's own program, whose answers to attacks are replaced."""
    if os.environ["ATTACKER_CONFINED"] == "False":
        platform.machine = lambda: "a machine of tomorrow"
    decoder_program._answer = _answer
    decoder_program.main(int(sys.argv[1]), sys.argv[2], None, float(sys.argv[4]), int(sys.argv[5]), None)


def _answer(encoder: Encoder, decoding: Any, asked: DecoderQuestion, cpu_limit_s: float) -> DecoderAnswer:
    if not any(value.startswith(PREFIX) for value in asked.values):
        return _decoders_own(encoder, decoding, asked, cpu_limit_s)
    name, _, folder = asked.values[0].removeprefix(PREFIX).decode().partition(":")
    return DecoderAnswer([Decoded("attacked", _attempted(name, Path(folder)))])


def _attempted(name: str, folder: Path) -> str:
    try:
        ATTACKS[name](folder)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "done"


if __name__ == "__main__":
    ended_when_out_of_memory(main)
