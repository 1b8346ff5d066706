"""How much memory processes take at most."""

import contextlib
import threading
import time
from collections.abc import Iterator

import psutil


@contextlib.contextmanager
def watched(pid: int) -> Iterator[dict[str, int]]:
    """The most resident memory that the process, its largest child, and all of them together have had, in bytes.

    The libraries that all of them map are in memory once, so they count once for all together.
    """
    peaks = {"parent": 0, "child": 0, "together": 0}
    ended = threading.Event()

    def watch() -> None:
        process = psutil.Process(pid)
        listed_s, children = 0.0, []
        while not ended.wait(0.02):
            with contextlib.suppress(psutil.Error):
                if time.monotonic() - listed_s > 1:  # which looks at every process of the machine
                    listed_s, children = time.monotonic(), process.children(recursive=True)
                own = process.memory_info()
                others = [child.memory_info() for child in children if child.is_running()]
                of_files = max(each.shared for each in (own, *others))
                together = of_files + sum(each.rss - each.shared for each in (own, *others))
                for name, size in zip(peaks, (own.rss, max((o.rss for o in others), default=0), together), strict=True):
                    peaks[name] = max(peaks[name], size)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peaks
    finally:
        ended.set()
        thread.join()
