"""Requests that no client should send, thousands of them: each is refused or answered, and searches go on being exact."""

import gc
import logging
import random
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from api.connections import ConnectionLimits
from model.pictures.images import decode
from tests.api_gallery import Gallery, digit, running_api, settings_for
from tests.hostile_requests import Hostile, exchange, hostile_request

# Short, so that what never ends is soon ended.
LIMITS = ConnectionLimits(
    first_byte_s=0.5, headers_s=0.5, headers_size_bytes_max=8192, body_grace_s=0.3, look_s=0.1, lingering_s=0.3
)
TOGETHER = 100
STATUS = re.compile(rb"^HTTP/1\.[01] (\d{3}) ", re.MULTILINE)


# Of a form that ends inside of its file, Starlette leaves the file to be closed when it is collected.
pytestmark = pytest.mark.filterwarnings("ignore:Unclosed file <tempfile.SpooledTemporaryFile:ResourceWarning")


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    settings = settings_for(tmp_path_factory.mktemp("api"))
    gallery = Gallery(settings)
    gallery.put({f"digit/{n}": digit(n) for n in range(40)}, {f"digit/{n}": f'{{"label":{n % 10}}}' for n in range(40)})
    with running_api(settings, LIMITS):
        gallery.port = settings.api_port  # type: ignore[attr-defined]
        yield gallery


def check_search(gallery: Gallery, client: httpx.Client, number: int) -> None:
    """A search equals brute force."""
    answer = client.post("/v1/search?k=7", content=digit(number), headers={"Content-Type": "image/png"})
    assert answer.status_code == 200, answer.text
    found = [(match["id"], match["distance"]) for match in answer.json()["matches"]]
    expected = gallery.nearest(gallery.encoder.embed(gallery.encoder.pixels(decode(digit(number)).image)), 7)
    assert [image_id for image_id, _ in found] == [image_id for image_id, _ in expected]
    assert [distance for _, distance in found] == pytest.approx([distance for _, distance in expected], abs=1e-6)


@pytest.mark.parametrize("count", [200, pytest.param(5000, marks=[pytest.mark.thorough, pytest.mark.timeout(900)])])
def test_hostile_requests_are_refused_or_answered_and_searches_stay_exact(
    gallery: Gallery, count: int, chance: random.Random, caplog: pytest.LogCaptureFixture
) -> None:
    port, statuses = gallery.port, Counter[int]()  # type: ignore[attr-defined]
    with (
        ThreadPoolExecutor(16) as threads,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        for number in range(0, count, TOGETHER):
            hostile = [hostile_request(chance) for _ in range(TOGETHER)]
            for sent, said in zip(hostile, threads.map(lambda each: exchange(port, each), hostile), strict=True):
                statuses.update(check_answer(sent, said))
            check_search(gallery, client, number // TOGETHER)
    gc.collect()  # here, where what is left unclosed is expected
    print(sorted(statuses.items()))
    assert statuses[200] and statuses[400] and statuses[422] and statuses[408]
    # What went wrong without an answer: in a handler, or in what the loop called.
    ours = [record for record in caplog.records if record.name in ("uvicorn.error", "asyncio")]
    assert not [record.getMessage() for record in ours if record.levelno >= logging.ERROR]


def check_answer(sent: Hostile, said: bytes) -> list[int]:
    """The statuses that were answered: a failure only where it is said which part does not answer, and that one may try again."""
    assert said == b"" or said.startswith(b"HTTP/1."), (sent, said)
    statuses = [int(status) for status in STATUS.findall(said)]
    failed = [status for status in statuses if status >= 500]
    assert set(failed) <= {501, 503}, (sent, said)
    return statuses
