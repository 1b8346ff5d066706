"""Searches by address: only where they are allowed, only of pictures, and never from inside the network."""

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from lookalike_client import ApiError, Client
from tests.api_gallery import Gallery, digit, running_api, settings_for

CONTENT = {"/one.png": digit(1), "/text": b"no picture", "/empty": b"", "/half.png": digit(1)[:60]}


class _Pictures(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        content = CONTENT.get(self.path)
        self.send_response(200 if content is not None else 404)
        self.end_headers()
        self.wfile.write(content or b"")


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Pictures) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def api_with(folder: Path, **settings: object) -> Any:
    made = settings_for(folder, **settings)
    Gallery(made).put({"one": digit(1), "two": digit(2)})
    return running_api(made)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("address")
    with api_with(folder, search_by_address=True, private_addresses=True) as address:
        yield address


def test_the_picture_at_an_address_finds_what_its_bytes_find(api: str, elsewhere: str) -> None:
    client = Client(api)
    by_address = client.search_address(f"{elsewhere}/one.png", k=2)
    assert [(match.id, match.distance) for match in by_address.matches] == [
        (match.id, match.distance) for match in client.search(digit(1), k=2).matches
    ]
    assert (by_address.matches[0].id, by_address.matches[0].distance) == ("one", 0.0)
    assert client.index()["search_by_address"] is True


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/nothing", 502, "address-failed"),
        ("/text", 415, "unsupported-type"),
        ("/empty", 400, "empty"),
        ("/half.png", 422, "truncated"),
    ],
)
def test_what_is_no_picture_there_is_said(api: str, elsewhere: str, path: str, status: int, code: str) -> None:
    with pytest.raises(ApiError) as told:
        Client(api).search_address(f"{elsewhere}{path}")
    assert (told.value.status, told.value.code) == (status, code)


def test_a_foreign_page_cannot_have_an_address_asked(api: str, elsewhere: str) -> None:
    query = urlencode({"url": f"{elsewhere}/one.png"})
    request = urllib.request.Request(f"{api}/v1/search?{query}", b"", {"Origin": "https://foreign.example"})
    with pytest.raises(urllib.error.HTTPError) as told:
        urllib.request.urlopen(request)
    with told.value as answer:
        assert (answer.code, json.load(answer)["code"]) == (403, "foreign-origin")


def test_an_address_and_a_body_are_two_queries(api: str, elsewhere: str) -> None:
    query = urlencode({"url": f"{elsewhere}/one.png"})
    request = urllib.request.Request(f"{api}/v1/search?{query}", digit(1), {"Content-Type": "image/png"})
    with pytest.raises(urllib.error.HTTPError) as told:
        urllib.request.urlopen(request)
    with told.value as answer:
        assert (answer.code, json.load(answer)["code"]) == (400, "two-queries")


def test_without_the_settings_nothing_is_fetched(tmp_path: Path, elsewhere: str) -> None:
    with api_with(tmp_path / "off") as address:
        with pytest.raises(ApiError) as told:
            Client(address).search_address(f"{elsewhere}/one.png")
        assert (told.value.status, told.value.code) == (403, "address-search-off")
        assert Client(address).index()["search_by_address"] is False
    with api_with(tmp_path / "public", search_by_address=True) as address:
        with pytest.raises(ApiError) as told:
            Client(address).search_address(f"{elsewhere}/one.png")
        assert (told.value.status, told.value.code) == (403, "forbidden-address")
