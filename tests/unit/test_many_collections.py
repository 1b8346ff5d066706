"""What many idle collections cost one API: neither threads nor processes, little memory, little of a core."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from contract.collections import Collection, settings_of
from contract.settings import PREFIX, Settings
from gallery.generations.collection_file import write_collection
from tests.api_gallery import Gallery, digit, running_api, settings_for, wait_until

PNG = {"Content-Type": "image/png"}
MEMORY_BYTES_MAX = 2 * 1024 * 1024
# Of one core, for 200 of them, on a machine that does other things too.
CPU_SHARE_MAX = 0.1
IDLE_AFTER_S = 35.0
MEASURED_S = 10.0


def fill(settings: Settings, name: str, number: int) -> None:
    collection = Collection(name=name, encoder="contrast", partitions=4, created_at_ms=1)
    write_collection(settings, collection)
    own = settings_of(settings, collection)
    Gallery(own, f"{own.kafka_topic}:log").put({"a": digit(number), "b": digit(number + 1)})


def test_twenty_collections_need_no_more_threads_than_one(tmp_path: Path) -> None:
    threads = []
    for count in (0, 20):
        settings = settings_for(tmp_path / str(count))
        fill(settings, "default", 0)
        for number in range(count):
            fill(settings, f"c{number}", number)
        before = threading.active_count()
        with running_api(settings) as address, httpx.Client(base_url=address, timeout=30) as client:
            wait_until(lambda: client.get("/readyz").status_code == 200, "it is ready")
            threads.append(threading.active_count() - before)
            for number in range(count):
                found = client.post(f"/v1/collections/c{number}/search?k=1", content=digit(number), headers=PNG)
                assert [(match["id"], match["distance"]) for match in found.json()["matches"]] == [("a", 0)]
            assert len(client.get("/v1/collections").json()["collections"]) == count + 1
    # Those that wait for Kafka and Cassandra come and go.
    assert threads[1] <= threads[0] + 4


@pytest.mark.thorough
def test_two_hundred_idle_collections_cost_little(tmp_path: Path) -> None:
    memory, shares = [], []
    for count in (0, 200):
        settings = settings_for(tmp_path / str(count))
        fill(settings, "default", 0)
        for number in range(count):
            fill(settings, f"c{number}", number % 50)
        own = {"kafka_bootstrap", "cassandra_port", "index_dir", "var_dir", "compiled_dir", "api_port", "encoder"}
        told = {f"{PREFIX}{name.upper()}": str(value) for name, value in settings.model_dump(include=own).items()}
        process = subprocess.Popen([sys.executable, "-m", "api", "serve"], env={**os.environ, **told})
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{settings.api_port}", timeout=60) as client:

                def answers(client: httpx.Client = client) -> bool:
                    try:
                        return client.get("/readyz").status_code == 200
                    except httpx.TransportError:
                        return False

                wait_until(answers, "it is ready", 120.0)
                for name in ("default", *(f"c{number}" for number in range(count))):
                    client.post(f"/v1/collections/{name}/search", content=digit(1), headers=PNG).raise_for_status()
            idle_s = time.monotonic() + IDLE_AFTER_S
            wait_until(lambda: time.monotonic() > idle_s, "all are idle", 2 * IDLE_AFTER_S)  # noqa: B023
            before_s, until_s = cpu_s(process.pid), time.monotonic() + MEASURED_S
            wait_until(lambda: time.monotonic() > until_s, "it was measured", 2 * MEASURED_S)  # noqa: B023
            shares.append((cpu_s(process.pid) - before_s) / MEASURED_S)
            memory.append(resident_bytes(process.pid))
        finally:
            process.terminate()
            process.wait(30)
    print(f"{(memory[1] - memory[0]) / 200 / 1024:.0f} KiB each, {shares} of a core")
    assert (memory[1] - memory[0]) / 200 <= MEMORY_BYTES_MAX
    assert shares[1] - shares[0] <= CPU_SHARE_MAX


def cpu_s(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in use."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
