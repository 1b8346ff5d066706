"""The decoder children of a process."""

import contextlib

import psutil


def decoders_of(process: psutil.Process, *, recursive: bool = False) -> dict[psutil.Process, str]:
    """Its running decoder children, each with the name of its encoder."""
    found = {}
    for child in process.children(recursive=recursive):
        with contextlib.suppress(psutil.NoSuchProcess):  # a child may end after it was listed, or wait to be reaped
            line = child.cmdline()
            if "model.pictures.decoder_program" in line:
                found[child] = line[line.index("model.pictures.decoder_program") + 2]
    return found
