"""The Python client and `python -m api search`."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from api.client import Answer, ApiError, Client, Neighbour
from api.table import neighbours_table
from tests.api_gallery import Gallery, digit, free_port, running_api, settings_for


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
    coverage = {"count": 1, "generation": 1}
    text = neighbours_table(Answer([hostile], coverage, ["metadata"], {"total": 1.0}, {}))
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "\x1b" not in text
    assert "\u202e" not in text
