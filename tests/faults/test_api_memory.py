"""Large bodies at once: the API takes each in its turn or says when to come again, and neither ends nor fills the memory."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path

import httpx
import pytest

from contract.messages import IMAGE_SIZE_BYTES_MAX
from contract.settings import Settings
from stack.jars import ROOT
from stack.programs import environment
from tests.bad_messages import PNG, padded
from tests.conftest import fresh_settings
from tests.peaks import watched
from tests.waiting import wait_for
from topics.topic import ensure_topics

GIB = 1024**3


@pytest.mark.thorough
def test_64_uploads_of_32_mib_at_once_do_not_end_the_api(stack: Settings, tmp_path: Path) -> None:
    settings = fresh_settings(stack, tmp_path, kafka_partitions=4)
    ensure_topics(settings)
    value = padded(PNG, IMAGE_SIZE_BYTES_MAX)
    api = subprocess.Popen(
        [sys.executable, "-m", "api", "serve"], cwd=ROOT, env=environment(settings), stdout=subprocess.DEVNULL
    )
    limits = httpx.Limits(max_connections=64)
    try:
        with (
            httpx.Client(base_url=settings.api_address, timeout=120, limits=limits) as client,
            watched(api.pid) as peaks,
        ):
            wait_for(lambda: is_up(client) or None, 60)

            def send(kind: str, number: int) -> httpx.Response:
                if kind == "form":
                    return client.post(f"/v1/images?id={number}", files={"file": ("x", value)})
                content = value if kind == "raw" else (value[at : at + 65536] for at in range(0, len(value), 65536))
                return client.post(f"/v1/images?id={number}", content=content, headers={"Content-Type": "image/png"})

            with ThreadPoolExecutor(64) as pool:
                answers = list(pool.map(send, islice(cycle(("raw", "form", "chunked")), 64), range(64)))
            last = send("raw", 64)
        assert api.poll() is None, "the API ended"
    finally:
        api.terminate()
        api.wait(30)
    statuses = [answer.status_code for answer in answers]
    codes = [answer.json()["code"] for answer in answers if answer.status_code != 202]
    print(statuses.count(202), {code: codes.count(code) for code in set(codes)}, peaks)
    assert set(statuses) <= {202, 429, 503}
    assert all(answer.headers["retry-after"] for answer in answers if answer.status_code != 202)
    assert statuses.count(202) >= 4
    assert last.status_code == 202
    assert peaks["parent"] < GIB, peaks


def is_up(client: httpx.Client) -> bool:
    try:
        return client.get("/livez").status_code == 200
    except httpx.TransportError:
        return False
