"""Several API processes on one port over one index folder: one may be killed, what they map is there once, metrics are of all."""

import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from contract.settings import Settings
from stack.jars import ROOT
from stack.programs import environment
from tests.api_gallery import Gallery, digit, settings_for, wait_until

CLIENTS = 4
IMAGES = 300


@dataclass
class Running:
    """The command with two processes; `server` is the one that was started."""

    settings: Settings
    gallery: Gallery
    server: psutil.Process

    def processes(self) -> list[psutil.Process]:
        """Those that serve; one that was killed and not yet reaped is none."""
        found = []
        for child in self.server.children():
            with contextlib.suppress(psutil.Error):
                if "multiprocessing.spawn" in " ".join(child.cmdline()):
                    found.append(child)
        return found

    def client(self) -> httpx.Client:
        """On a connection of its own, so that either process may get it."""
        return httpx.Client(base_url=self.settings.api_address, timeout=30)

    def wait_for_two(self, without: int = 0) -> None:
        """Until both answer searches: what each told of itself stands in the metrics, by its process id."""

        def both_serve() -> bool:
            told = self.metrics()
            alive = {child.pid for child in self.processes()} - {without}
            return len(alive) == 2 and all(f'pid="{pid}"' in told for pid in alive)

        wait_until(both_serve, "two processes serve", 90.0)

    def metrics(self) -> str:
        """Of all processes; "" while nobody answers."""
        try:
            with self.client() as client:
                return client.get("/metrics").text
        except httpx.TransportError:
            return ""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    settings = settings_for(tmp_path_factory.mktemp("processes"), api_processes=2, encoder="contrast")
    gallery = Gallery(settings)
    gallery.put({f"digit/{n}": digit(n) for n in range(IMAGES)})
    gallery.rebuild()
    command = [sys.executable, "-m", "api", "serve"]
    with subprocess.Popen(command, cwd=ROOT, env=environment(settings), stdout=subprocess.DEVNULL) as server:
        try:
            found = Running(settings, gallery, psutil.Process(server.pid))
            found.wait_for_two()
            yield found
            server.send_signal(signal.SIGINT)
            assert server.wait(40) == 0
        finally:
            server.kill()
    assert not psutil.pid_exists(server.pid)


def test_of_a_killed_process_only_the_searches_in_flight_are_lost_and_it_comes_back(running: Running) -> None:
    killed, stop = threading.Event(), threading.Event()
    answered, lost = [0] * CLIENTS, [0] * CLIENTS

    def search_on(number: int) -> None:
        before, k = 0, number + 1
        wanted = running.gallery.nearest(running.gallery.embeddings["digit/7"], k)
        while before < 20 or not stop.is_set():
            with running.client() as client:  # a search each: the kernel chooses among processes that accept
                try:
                    body = client.post(f"/v1/search?k={k}", json={"image_id": "digit/7"}).json()
                except httpx.TransportError:
                    assert killed.is_set(), "a search was lost before anything was killed"
                    lost[number] += 1
                    continue
            found = [(match["id"], match["distance"]) for match in body["matches"]]
            assert [image_id for image_id, _ in found] == [image_id for image_id, _ in wanted]
            answered[number] += 1
            before += 1

    threads = [threading.Thread(target=search_on, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    wait_until(lambda: min(answered) >= 10, "all have searched", 60.0)
    victim = running.processes()[0]
    killed.set()
    victim.kill()
    running.wait_for_two(without=victim.pid)
    stop.set()
    for thread in threads:
        thread.join(30)
    print(f"answered {sum(answered)}, lost {sum(lost)}")
    assert all(each <= 1 for each in lost), f"each client has one search in flight, and lost {lost}"
    # Counters are sums, over the one that was killed too; a search that it had counted may have been lost on its way.
    line = next(
        each
        for each in running.metrics().splitlines()
        if each.startswith('lookalike_search_seconds_count{stage="total"}')
    )
    assert sum(answered) <= float(line.split()[-1]) <= sum(answered) + sum(lost)


def test_the_gallery_is_in_memory_once(running: Running) -> None:
    folder = str(running.settings.index_dir.resolve())

    def both_have_searched() -> bool:
        with running.client() as client:
            assert client.post("/v1/search", json={"image_id": "digit/1"}).status_code == 200
        return all(_mapped(process, folder)["Rss"] for process in running.processes())

    wait_until(both_have_searched, "both have searched", 60.0)
    told = [_mapped(process, folder) for process in running.processes()]
    assert len(told) == 2
    assert not any(each["Anonymous"] for each in told), told  # no page was copied
    # What both have read counts half for each; one may have read a little more.
    assert sum(each["Pss"] for each in told) <= 0.75 * sum(each["Rss"] for each in told), told


def test_a_count_of_processes_that_cannot_be_is_refused_at_start(tmp_path: Path) -> None:
    command, settings = [sys.executable, "-m", "api", "serve"], settings_for(tmp_path)
    for count in ("0", "two"):
        variables = environment(settings) | {"LOOKALIKE_API_PROCESSES": count}
        by_setting = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=60)
        assert by_setting.returncode != 0 and "LOOKALIKE_API_PROCESSES" in by_setting.stderr, by_setting
    by_option = subprocess.run([*command, "--processes", "0"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert by_option.returncode != 0 and "--processes" in by_option.stderr, by_option


def _mapped(process: psutil.Process, folder: str) -> dict[str, int]:
    """What a process has of files in a folder, in kB, by smaps' names."""
    sums = dict.fromkeys(("Rss", "Pss", "Anonymous"), 0)
    is_inside = False
    for line in Path(f"/proc/{process.pid}/smaps").read_text().splitlines():
        name, _, value = line.partition(":")
        if " " in name:  # a mapping begins
            is_inside = folder in line
        elif is_inside and name in sums:
            sums[name] += int(value.split()[0])
    return sums
