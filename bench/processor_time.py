"""Processor time of each program of the running stack, so that it can be told what an image costs where."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from contract.settings import Settings
from stack.state import read_state

OURS = "this measurement"


@contextmanager
def processor_time(pids: dict[str, int]) -> Iterator[dict[str, float]]:
    """Seconds of processor time that each program takes inside, by its name; in the dict once the block has ended.

    What its children take is told as `<name>'s children`: the embedder's is the decoder, the indexer's build bases. "this
    measurement" is the calling process, which publishes and watches.
    """
    found: dict[str, float] = {}
    before, ours_s = _taken_s(pids), time.process_time()
    yield found
    after = _taken_s(pids)
    found |= {name: round(taken_s - before.get(name, 0.0), 3) for name, taken_s in after.items()}
    found[OURS] = round(time.process_time() - ours_s, 3)


def pids_of(settings: Settings, *groups: str) -> dict[str, int]:
    """Of the programs that `up` has started, by name."""
    states = [state for group in groups if (state := read_state(settings, group)) is not None]
    return {process.name: process.pid for state in states for process in state.processes if process.pid}


def _taken_s(pids: dict[str, int]) -> dict[str, float]:
    """So far, by name."""
    taken: dict[str, float] = {}
    for name, pid in pids.items():
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            own = process.cpu_times()
            taken[name] = own.user + own.system
            # Of those that have ended the parent is told once it has waited for them.
            children_s = own.children_user + own.children_system
            for child in process.children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    children_s += sum(child.cpu_times()[:4])
            if children_s:
                taken[f"{name}'s children"] = children_s
    return taken
