"""Nothing grows that ought not to: uploads, generations and connections that come and go leave memory, open files and disk as they were."""

import contextlib
import itertools
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from gallery.generations.retention import GENERATIONS_KEPT, GENERATIONS_KEPT_S
from gallery.newest import newest_generation
from lookalike_client import Client
from model import mnist
from tests.parts import PROGRAMS, Parts, started
from tests.tables import tell_table
from tests.waiting import wait_for

DIGITS = mnist.images("test")
# So many ids that the gallery stays as large as it is, whatever is uploaded.
IDS = 500
# As many before the first look as after it: what takes its place only once has taken it.
WARM_UPLOADS, UPLOADS = 10_000, 10_000
SWAPS = 300
CONNECTIONS = 1_000
AT_ONCE = 200
GROWTH_MAX = 1.05
# Each of the generations that are kept may have a base of its own, of some 25 files, a tail and a manifest.
FILES_MAX = GENERATIONS_KEPT * 30


class Figures:
    """What each program holds: bytes of memory that are its own, with its children, and open files."""

    def __init__(self, parts: Parts) -> None:
        self.memory: dict[str, int] = {}
        self.files: dict[str, Counter[str]] = {}
        for name in (*PROGRAMS, *parts.apis):
            process = psutil.Process(parts.pid(name))
            # The least of some: what is just being done takes memory that is given back.
            self.memory[name] = min(_sum(process, lambda each: int(each.memory_full_info().uss)) for _ in _ticks(20))
            self.files[name] = min((open_files(process) for _ in _ticks(10)), key=Counter.total)

    def more_files(self, before: "Figures") -> dict[str, Counter[str]]:
        """Of each program that has more open files than before, which those are."""
        return {
            name: files - before.files[name]
            for name, files in self.files.items()
            if files.total() > before.files[name].total()
        }


def open_files(process: psutil.Process) -> Counter[str]:
    """Open files of a process and its children, sockets by whom they lead to."""
    found: Counter[str] = Counter()
    for each in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess, FileNotFoundError):
            sockets = {
                c.fd: f"{c.status} {c.laddr and c.laddr[1]} {c.raddr and c.raddr[1]}"
                for c in each.net_connections("all")
            }
            for path in Path(f"/proc/{each.pid}/fd").iterdir():
                with contextlib.suppress(FileNotFoundError):
                    found[f"{path.readlink().name.partition(':')[0]} {sockets.get(int(path.name), '')}".strip()] += 1
    return found


def files_on_disk(parts: Parts) -> int:
    """Of the index folder."""
    return sum(path.is_file() for path in parts.settings.index_dir.rglob("*"))


def _sum(process: psutil.Process, figure: Callable[[psutil.Process], int]) -> int:
    """Over a process and its children; one that ends meanwhile, such as one that builds a base, holds nothing."""
    total = 0
    for each in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += figure(each)
    return total


def _ticks(count: int) -> Iterator[int]:
    for tick in range(count):
        time.sleep(0.1)  # a sampling interval
        yield tick


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    # The cache is so small that it is full before the first look.
    parts = started(tmp_path, apis=1, history_hours=0, rebuild_interval_s=3, api_cache_mib=2)
    yield parts
    parts.stop()


def upload(client: httpx.Client, numbers: range) -> None:
    """Upload digits under few ids, and search for every tenth."""
    with ThreadPoolExecutor(4) as pool:

        def one(number: int) -> None:
            picture = mnist.png(DIGITS[number % len(DIGITS)])
            headers = {"Content-Type": "image/png"}
            while (
                client.post(f"/v1/images?id=digit/{number % IDS}", content=picture, headers=headers).status_code != 202
            ):
                time.sleep(0.05)  # 429 and 503 ask for it
            if number % 10 == 0:
                assert client.post("/v1/search?k=10", content=picture, headers=headers).status_code in (200, 429, 503)

        for _ in pool.map(one, numbers):
            pass


def come_and_go(port: int, number: int) -> None:
    """A connection that asks one thing and ends, in turn politely, in the middle of an answer, and without a word."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        if number % 3:
            path = b"/readyz" if number % 3 == 1 else b"/v1/index/events"
            connection.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            connection.recv(100)


def settle(client: Client) -> int:
    """Wait until all is covered; the generation."""

    def generation() -> int | None:
        told = client.index()
        return int(told["coverage"]["generation"]) if told["lag"] == 0 else None

    return wait_for(generation, 120)


def rest(parts: Parts, client: Client) -> int:
    """Wait until all is covered, by a base and what came after it, and none is being built; the generation."""

    def has_base() -> bool | None:
        with contextlib.suppress(psutil.Error):  # one that ended just now: look again
            children = [child.cmdline() for child in psutil.Process(parts.pid("indexer")).children()]
            is_building = any("spawn_main" in " ".join(words) for words in children)
            return (newest_generation(parts.settings).manifest.base.name and not is_building) or None
        return None

    settle(client)
    wait_for(has_base, 120)
    # What the API lets those read who turn pages is let go of by then.
    time.sleep(GENERATIONS_KEPT_S)
    return settle(client)


@pytest.mark.thorough
@pytest.mark.timeout(1500)
def test_uploads_generations_and_connections_leave_nothing_behind(parts: Parts) -> None:
    port = int(parts.apis[0].partition("-")[2])
    address = f"http://127.0.0.1:{port}"
    client = Client(address)
    numbers = itertools.count()
    with httpx.Client(base_url=address, timeout=30) as http:
        upload(http, range(WARM_UPLOADS))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda n: come_and_go(port, n), range(AT_ONCE)))
        first, before = rest(parts, client), Figures(parts)
        upload(http, range(UPLOADS))
        while settle(client) - first < SWAPS:
            upload(http, range(number := next(numbers), number + 1))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda n: come_and_go(port, n), range(CONNECTIONS)))
        swaps = rest(parts, client) - first
        with contextlib.suppress(AssertionError):  # told below
            # What a client left is closed within seconds.
            wait_for(lambda: not Figures(parts).more_files(before) or None, 60)
        after = Figures(parts)

        def few_on_disk() -> int | None:
            """Generations of the last minute are kept until the next is published."""
            time.sleep(GENERATIONS_KEPT_S)
            upload(http, range(number := next(numbers), number + 1))
            count = files_on_disk(parts)
            return count if count <= FILES_MAX else None

        kept = wait_for(few_on_disk, 200)
    rows = [
        (
            name.partition("-")[0],
            f"{before.memory[name] / 1e6:.1f} MB",
            f"{after.memory[name] / before.memory[name] - 1:+.1%}",
            f"{after.files[name].total() - before.files[name].total():+d}",
        )
        for name in before.memory
    ]
    print(f"{swaps} generations; files in the index folder a minute later: {kept}")
    tell_table("growth", ("program", "memory before", "grown by", "open files"), rows)
    assert not after.more_files(before)
    assert all(after.memory[name] <= GROWTH_MAX * before.memory[name] for name in before.memory)
