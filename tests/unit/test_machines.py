"""Two machines behind one address: each answers from an index folder of its own, and one of them is behind."""

import contextlib
import http.client
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from contract.collections import Collection, settings_of
from gallery.generations.collection_file import is_of_another, write_collection
from gallery.generations.manifest import CURRENT
from gallery.generations.serving import SERVING, Serving, write_serving
from lookalike_client import ApiError, Client, Covered
from lookalike_client.seen import Seen
from stack.jars import ROOT
from tests.api_gallery import Gallery, digit, free_port, running_api, settings_for, wait_until
from tests.relay import Relay

FEW, ALL = 5, 12


class Two(NamedTuple):
    """What two machines hold and where they answer, the one behind last; and the address of both."""

    galleries: list[Gallery]
    addresses: list[str]
    address: str


NGINX = pytest.param("nginx", marks=pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed"))


@contextlib.contextmanager
def balanced(kind: str, ports: list[int], folder: Path) -> Iterator[int]:
    """The port of a proxy that asks these in turn: each connection another one, or nginx as deploy/nginx has it."""
    if kind == "relay":
        with Relay(*ports) as relay:
            yield relay.port
        return
    port, text = free_port(), (ROOT / "deploy/nginx/lookalike.conf").read_text()
    for old, new in ((8000, port), (8001, ports[0]), (8002, ports[1])):
        assert f"127.0.0.1:{old}" in text
        text = text.replace(f"127.0.0.1:{old}", f"127.0.0.1:{new}")
    (folder / "nginx.conf").write_text(text)
    command = ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]
    with subprocess.Popen(command) as nginx:
        try:
            wait_until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, "nginx listens")
            yield port
        finally:
            nginx.terminate()


@pytest.fixture(params=["relay", NGINX])
def two(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Two]:
    settings = [settings_for(tmp_path / name) for name in ("ahead", "behind")]
    galleries = [Gallery(own) for own in settings]
    galleries[1].put({f"digit/{n}": digit(n) for n in range(FEW)})
    grow(galleries[0], 0, ALL, at_once=3)
    galleries[0].rebuild()
    with (
        running_api(settings[0]) as ahead,
        running_api(settings[1]) as behind,
        balanced(request.param, [own.api_port for own in settings], tmp_path) as port,
    ):
        yield Two(galleries, [ahead, behind], f"http://127.0.0.1:{port}")


def grow(gallery: Gallery, begin: int, end: int, *, at_once: int) -> None:
    for start in range(begin, end, at_once):
        gallery.put({f"digit/{n}": digit(n) for n in range(start, min(end, start + at_once))})


def test_a_client_never_sees_coverage_go_back_between_machines_unless_it_says_so(two: Two) -> None:
    careless = Client(two.address, goes_back=True)
    assert {careless.search_id("digit/1").coverage.count for _ in range(4)} == {FEW, ALL}, "or nothing is balanced"
    client = Client(two.address)
    counts = [client.search_id("digit/1", k=k % 3 + 1).coverage.count for k in range(12)]
    assert counts == sorted(counts) and counts[-1] == ALL
    assert client.search_batch(["digit/11"]).coverage.count == client.search(digit(2)).coverage.count == ALL
    # Own writes: what a machine does not cover yet, another one does.
    fresh = Client(two.address)
    for _ in range(2):
        found = fresh.search_id("digit/11", min_offsets=f"0:{ALL}", wait_ms=3000)
        assert found.matches[0].id == "digit/11"


def test_where_only_a_machine_that_is_behind_answers_a_client_waits_and_is_told(two: Two) -> None:
    client = Client(two.address)
    while client.search_id("digit/1").coverage.count < ALL:
        pass
    ahead, behind = two.addresses
    client._address = behind
    began_s = time.monotonic()
    with pytest.raises(ApiError) as told:
        client.search_id("digit/1", wait_ms=700)
    assert 0.6 < time.monotonic() - began_s < 20
    assert (told.value.status, told.value.code) == (412, "not-covered")
    assert told.value.problem["coverage"]["offsets"] == {"0": FEW} and f"'0': {ALL}" in told.value.detail
    catching_up = threading.Timer(0.5, lambda: grow(two.galleries[1], FEW, ALL, at_once=1))
    catching_up.start()
    try:
        found = client.search_id("digit/1", wait_ms=20_000)
    finally:
        catching_up.join()
    assert found.coverage.count == ALL
    client._address = ahead
    other = client.search_id("digit/1")
    assert other.coverage.index_id != found.coverage.index_id and other.coverage.digest != found.coverage.digest
    assert other.coverage.content_digest == found.coverage.content_digest and other.matches == found.matches


def test_the_next_page_is_of_the_same_machine_or_refused(two: Two) -> None:
    """Generations of two folders have the same numbers and hold something else."""
    ahead, behind = (Client(address) for address in two.addresses)
    grow(two.galleries[1], FEW, FEW + 4, at_once=1)
    found = {each.coverage.generation for each in (ahead.search_id("digit/1"), behind.search_id("digit/1"))}
    first = ahead.search_id("digit/1", k=3).coverage
    second = ahead.search_id("digit/1", k=3, offset=3, generation=first)
    assert second.coverage == first
    with pytest.raises(ApiError) as told:
        behind.search_id("digit/1", k=3, offset=3, generation=first)
    assert told.value.code == "generation-gone"
    by_number = behind.search_id("digit/1", k=3, offset=3, generation=min(found)).coverage
    assert by_number.index_id != first.index_id
    offsets = ahead.search_id("digit/1", k=3, offset=3, as_of=first.min_offsets)
    assert offsets.matches == second.matches, "which any machine that covers them can answer"


def test_events_come_through_the_proxy_as_they_are_told_and_answers_keep_their_request_id(two: Two) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", int(two.address.rpartition(":")[2]), timeout=20)
    connection.request("POST", "/v1/search?k=1", digit(1), {"Content-Type": "image/png", "X-Request-Id": "mine-7"})
    answer = connection.getresponse()
    assert (answer.status, answer.headers["X-Request-Id"]) == (200, "mine-7")
    answer.read()
    connection.close()
    connection.request("GET", "/v1/index/events")
    events = connection.getresponse()
    assert events.headers["Content-Type"].startswith("text/event-stream")
    lines = iter(events.readline, b"")
    assert any(line.startswith(b"data:") for line in lines), "the stream ended"
    connection.close()


def test_the_folder_of_a_collection_that_was_dropped_elsewhere_is_not_answered_from(tmp_path: Path) -> None:
    """Who drops a collection on one machine deletes its folder there alone."""
    settings = settings_for(tmp_path)
    cats = Collection(name="cats", encoder=settings.encoder, partitions=1, created_at_ms=1000)
    own = settings_of(settings, cats)
    Gallery(own).put({"cat": digit(1)})
    write_collection(settings, cats)
    write_serving(own.index_dir, Serving(settings.encoder))
    write_collection(settings, cats)
    assert (own.encoder_index_dir / CURRENT).exists() and not is_of_another(settings, cats)
    again = Collection(name="cats", encoder=settings.encoder, partitions=1, created_at_ms=2000)
    assert is_of_another(settings, again)
    write_collection(settings, again)
    assert not is_of_another(settings, again)
    assert not (own.encoder_index_dir / CURRENT).exists() and not (own.index_dir / SERVING).exists()
    assert Gallery(own).writer.manifest.count == 0


def covered(log: str, offsets: dict[str, int], *, is_known: bool = True) -> Covered:
    return Covered("i", 1, log, offsets, dict(offsets) if is_known else None, 1, True, "e", "d", 0)


def not_covered(coverage: Covered) -> ApiError:
    problem: dict[str, Any] = {"coverage": {"log": coverage.log, "end_offsets": coverage.end_offsets}}
    return ApiError(412, "not-covered", "", problem)


def test_what_was_seen_is_the_most_of_all_answers_and_of_what_is_asked_for() -> None:
    seen = Seen()
    assert seen.wanted(None) is None and seen.wanted("0:3") == "0:3"
    seen.take(covered("a", {"0": 5, "1": 2}))
    seen.take(covered("a", {"0": 4, "1": 7}))
    assert seen.wanted(None) == "0:5,1:7"
    assert seen.wanted("1:9,2:1") == "0:5,1:9,2:1"
    assert seen.wanted("nonsense") == "nonsense", "which the API refuses"


def test_a_topic_that_was_created_anew_begins_anew_once_kafka_says_so() -> None:
    seen = Seen()
    seen.take(covered("a", {"0": 500}))
    with pytest.raises(ApiError, match="not-covered"):
        seen.take(covered("b", {"0": 1}, is_known=False))  # it may be one of before
    assert seen.is_behind(not_covered(covered("b", {"0": 1}, is_known=False))) and seen.wanted(None) == "0:500"
    assert seen.is_behind(not_covered(covered("a", {"0": 499}))) and seen.wanted(None) == "0:500"
    assert seen.is_behind(not_covered(covered("b", {"0": 1}))) and seen.wanted(None) is None
    seen.take(covered("b", {"0": 2}))
    assert seen.wanted(None) == "0:2"
    assert not seen.is_behind(ApiError(503, "busy", ""))
    assert not seen.forget("b") and not seen.forget("") and seen.forget("c") and seen.wanted(None) is None
