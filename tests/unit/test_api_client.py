"""The Python client and `python -m api search`."""

import ast
import json
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit

import pytest

from api.answers import efforts, ordering
from lookalike_client import Answer, ApiError, Client, Covered, Effort, Neighbour, Sort
from lookalike_client.answers import answer_of
from lookalike_client.table import neighbours_table
from tests.api_gallery import Gallery, digit, free_port, running_api, settings_for

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = settings_for(tmp_path_factory.mktemp("api"))
    Gallery(settings).put({f"digit/{i}": digit(i) for i in range(20)})
    with running_api(settings) as address:
        yield address


def search_command(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "api", "search", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_the_client_searches_in_every_form(address: str, tmp_path: Path) -> None:
    client = Client(address)
    file = tmp_path / "digit.png"
    file.write_bytes(digit(4))
    answers = [client.search(digit(4), k=3), client.search_file(file, k=3), client.search_id("digit/4", k=3)]
    for answer in answers:
        assert answer.matches[0].id == "digit/4"
        assert answer.matches == answers[0].matches
    assert client.search_embedding([0.0] * 128, max_distance=0.0).matches == []
    assert client.index()["count"] == 20
    assert client.image("digit/4")["source"]["offset"] == 4


def test_a_client_of_a_collection_asks_that_one_for_everything_and_all_for_what_there_is() -> None:
    asked = []

    class Recording(Client):
        def _call(self, request: urllib.request.Request) -> bytes:
            path = urlsplit(request.full_url).path.removeprefix("/v1")
            at = self._collection if path.startswith(f"{self._collection}/") else ""
            asked.append((request.method, at, path.removeprefix(at)))
            return b'{"collections": [], "rejected": []}'

    for name in ("default", "holiday", "no/such ?"):
        client = Recording("http://127.0.0.1:9", collection=name)
        client.index()
        client.rejected()
        client.thumbnail("a")
        client.original("a")
        client.collections()
        client.create_collection("new", encoder="photo")
        client.drop_collection("a b")
    prefixes = ["", "/collections/holiday", "/collections/no%2Fsuch%20%3F"]
    own = ["/index", "/rejected", "/images/thumbnail", "/images/original"]
    of_all = [("GET", "", "/collections"), ("POST", "", "/collections"), ("DELETE", "", "/collections/a%20b")]
    assert asked == [each for at in prefixes for each in (*(("GET", at, path) for path in own), *of_all)]


def test_the_client_asks_many_things_at_once_and_says_which_failed(address: str) -> None:
    client = Client(address)
    images = client.search_batch([digit(4), b"no picture"], k=2)
    assert isinstance(images.answers[0], list)
    assert images.answers[0][0].id == "digit/4"
    assert isinstance(images.answers[1], ApiError)
    assert (images.answers[1].status, images.answers[1].code) == (415, "unsupported-type")
    others = client.search_batch(["digit/4", [0.0] * 128], k=1, min_offsets=images.coverage.min_offsets)
    assert [len(answer) for answer in others.answers if isinstance(answer, list)] == [1, 1]
    with pytest.raises(ValueError, match="not both"):
        client.search_batch([digit(4), "digit/4"])


def test_the_client_filters_turns_pages_and_asks_for_less(address: str) -> None:
    client, only = Client(address), {"must": [{"has_id": [f"digit/{n}" for n in range(5)]}]}
    nearest = client.search(digit(4), k=5, filter=only)
    assert {match.id for match in nearest.matches} == {f"digit/{n}" for n in range(5)}
    assert nearest.coverage.matched == 5 and client.search(digit(4)).coverage.matched is None
    generation = nearest.coverage.generation
    second = client.search_id("digit/4", k=2, offset=2, generation=generation, filter=only, fields=["source"])
    assert [match.id for match in second.matches] == [match.id for match in nearest.matches[2:4]]
    assert {*second.raw["matches"][0]} == {"id", "distance", "source"} and second.matches[0].metadata is None
    many = client.search_batch(["digit/4", "digit/9"], filter=only)
    assert many.coverage.matched == 5
    assert client.search_batch([digit(4)], filter=only).coverage.matched == 5
    with pytest.raises(ApiError, match=r"filter\.might"):
        client.search_embedding([0.0] * 128, filter={"might": []})


def test_an_answer_says_what_a_later_one_must_cover(address: str) -> None:
    client = Client(address)
    seen = client.search(digit(4), k=1).coverage
    assert seen.count == 20
    assert seen.min_offsets == "0:20"
    assert client.search(digit(4), k=1, min_offsets=seen.min_offsets).coverage == seen
    with pytest.raises(ApiError) as early:
        client.search(digit(4), min_offsets="0:21", wait_ms=1)
    assert (early.value.status, early.value.code) == (412, "not-covered")
    assert early.value.problem["coverage"]["offsets"] == {"0": 20}


def test_client_and_api_know_the_same_orders_and_efforts() -> None:
    assert get_args(Sort) == get_args(ordering.Sort)
    assert get_args(Effort) == get_args(efforts.Effort)


def test_fields_of_a_newer_api_are_left_to_raw(address: str) -> None:
    raw = Client(address).search(digit(4), k=1).raw
    raw["matches"][0]["mood"] = "good"
    assert answer_of(raw).matches[0].id == "digit/4"


@pytest.mark.parametrize("file", sorted((ROOT / "clients/python/lookalike_client").glob("*.py")), ids=lambda f: f.name)
def test_the_client_is_written_for_python_3_9(file: Path) -> None:
    tree = ast.parse(file.read_text(), feature_version=(3, 9))
    assert "from __future__ import annotations" in file.read_text() or file.name == "__init__.py"
    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert {name.split(".")[0] for name in imported} <= {*sys.stdlib_module_names, "lookalike_client"}


def test_the_client_says_why_the_api_refused(address: str) -> None:
    with pytest.raises(ApiError, match="No image has the id 'nobody'") as refused:
        Client(address).search_id("nobody")
    assert (refused.value.status, refused.value.code) == (404, "unknown-image")
    with pytest.raises(ApiError, match="python -m api serve") as unreachable:
        Client(f"http://127.0.0.1:{free_port()}").index()
    assert unreachable.value.code == "unreachable"


@pytest.mark.parametrize("said", [b"", b"nonsense", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"])
def test_an_answer_that_breaks_off_is_unreachable(said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(said)

        with ThreadPoolExecutor(1) as pool:
            pool.submit(answer)
            with pytest.raises(ApiError) as broken:
                Client(f"http://127.0.0.1:{server.getsockname()[1]}", timeout_s=10).index()
    assert (broken.value.status, broken.value.code) == (0, "unreachable")


def test_the_command_prints_neighbours_as_a_table_and_as_json(address: str, tmp_path: Path) -> None:
    file = tmp_path / "digit.png"
    file.write_bytes(digit(4))
    table = search_command(file, "--k", 3, "--url", address)
    assert table.returncode == 0, table.stderr
    head, first, *_, foot = table.stdout.splitlines()
    assert head.split() == ["#", "distance", "id", "metadata"]
    assert first.split() == ["1", "0.0000", "digit/4"]
    assert foot.startswith("exact over 20 images, generation 2, ")
    raw = json.loads(search_command(file, "--k", 3, "--url", address, "--json").stdout)
    assert raw["matches"][0]["id"] == "digit/4"
    asked = ["--filter", '{"must": [{"has_id": ["digit/4", "digit/5"]}]}', "--offset", 1, "--url", address, "--json"]
    assert [match["id"] for match in json.loads(search_command(file, *asked).stdout)["matches"]] == ["digit/5"]


def test_the_command_says_what_is_wrong(address: str, tmp_path: Path) -> None:
    missing = search_command(tmp_path / "nothing.png", "--url", address)
    assert missing.returncode == 1
    assert "nothing.png cannot be read" in missing.stderr
    file = tmp_path / "page.html"
    file.write_text("<html>")
    refused = search_command(file, "--url", address)
    assert refused.returncode == 1
    assert refused.stderr.startswith("unsupported-type: ")


def test_a_table_fits_80_columns_and_cannot_steer_the_terminal() -> None:
    hostile = Neighbour("\x1b[31m\u202e" + "x" * 300, 1.5, {"label": "y" * 300}, 1, 1, "image/png", False, True)
    coverage = Covered("index", 1, "log", {"0": 1}, None, 1, True, "encoder", "digest", 0)
    text = neighbours_table(Answer([hostile], coverage, ["metadata"], {"total": 1.0}, {}))
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "\x1b" not in text
    assert "\u202e" not in text
