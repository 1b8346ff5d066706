"""Requests to addresses that strangers name reach nothing inside, and end in time, whatever the other side does."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from runtime.outbound import AddressError, Outbound, is_public, masked_address
from tests.receiver import Receiver

PICTURE = bytes(range(256)) * 100
PUBLIC, INSIDE = "93.184.216.34", "127.0.0.1"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.server.asked.append(self.headers["Host"] + self.path)  # type: ignore[attr-defined]
        kind, _, rest = self.path.strip("/").partition("/")
        getattr(self, f"_{kind}")(rest)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._send(200, body + self.headers["X-Signed"].encode())

    def _send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def _picture(self, _: str) -> None:
        self._send(200, PICTURE)

    def _status(self, rest: str) -> None:
        self._send(int(rest), b"no")

    def _to(self, rest: str) -> None:
        self._send(302, b"", Location=rest.replace("|", "/"))

    def _again(self, _: str) -> None:
        self._send(302, b"", Location="/again")

    def _zipped(self, _: str) -> None:
        self._send(200, PICTURE, Content_Encoding="gzip")

    def _short(self, _: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(PICTURE) + 1))
        self.end_headers()
        self.wfile.write(PICTURE)
        self.close_connection = True

    def _endless(self, _: str) -> None:
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        self._until_gone(PICTURE, 0.0)

    def _slowly(self, _: str) -> None:
        self.send_response(200)
        self.end_headers()
        self.close_connection = True
        self._until_gone(b"a", 0.05)

    def _drip(self, _: str) -> None:
        self.close_connection = True
        self._until_gone(b"H", 0.05)

    def _until_gone(self, part: bytes, pause_s: float) -> None:
        deadline = time.monotonic() + 20
        try:
            while time.monotonic() < deadline:
                self.wfile.write(part)
                self.server.gone.wait(pause_s)  # type: ignore[attr-defined]
        except OSError:
            pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        self.gone = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def server() -> Iterator[_Server]:
    with _Server() as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.gone.set()
        made.shutdown()
        thread.join()


def private(timeout_s: float = 5.0) -> Outbound:
    return Outbound(allow_private=True, timeout_s=timeout_s)


def refused(ask: Callable[[], object]) -> AddressError:
    with pytest.raises(AddressError) as told:
        ask()
    return told.value


def test_what_an_address_holds_comes_whole(server: _Server) -> None:
    assert private().get(f"{server.address}/picture", len(PICTURE)).body == PICTURE


def test_redirects_are_followed_a_few_times(server: _Server) -> None:
    answer = private().get(f"{server.address}/to/|picture", len(PICTURE))
    assert (answer.body, answer.url) == (PICTURE, f"{server.address}/picture")
    assert refused(lambda: private().get(f"{server.address}/again", 10)).code == "address-failed"
    assert server.asked.count(f"{server.address[7:]}/again") == 4


def test_a_post_is_answered_and_sent_on_by_nobody(server: _Server) -> None:
    assert private().post(f"{server.address}/hook", b"body", {"X-Signed": "yes"}).body == b"bodyyes"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("status/404", "address-failed"),
        ("status/500", "address-failed"),
        ("zipped", "address-failed"),
        ("short", "address-failed"),
        ("endless", "too-large"),
        ("to/ftp:||example.com|x", "bad-address"),
    ],
)
def test_what_is_no_whole_answer_is_said(server: _Server, path: str, code: str) -> None:
    assert refused(lambda: private().get(f"{server.address}/{path}", 2 * len(PICTURE))).code == code


def test_what_is_too_large_is_not_read(server: _Server) -> None:
    told = refused(lambda: private().get(f"{server.address}/picture", len(PICTURE) - 1))
    assert told.code == "too-large" and str(len(PICTURE)) in told.detail


@pytest.mark.parametrize("path", ["drip", "slowly"])
def test_one_that_sends_a_byte_now_and_then_is_left_in_time(server: _Server, path: str) -> None:
    """Also where what came until then would pass for a whole answer, since no length was stated."""
    began_s = time.monotonic()
    told = refused(lambda: private(timeout_s=0.5).get(f"{server.address}/{path}", len(PICTURE)))
    assert told.code == "address-failed"
    assert time.monotonic() - began_s < 5


def test_time_that_a_name_takes_counts_too(server: _Server) -> None:
    def resolve(host: str, _: int) -> list[str]:
        time.sleep(0.3)
        return [host]

    ask = Outbound(allow_private=True, timeout_s=0.2, resolve=resolve)
    assert refused(lambda: ask.get(f"{server.address}/slowly", len(PICTURE))).code == "address-failed"
    assert server.asked == []


def test_one_that_never_answers_is_left_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        assert refused(lambda: private(timeout_s=0.5).get(address, 10)).code == "address-failed"


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "0x7f.1", "2130706433", "[::1]", "[::ffff:127.0.0.1]", "0", "127.1"]
)
def test_nothing_inside_is_reached_however_it_is_spelled(server: _Server, host: str) -> None:
    ask = Outbound(allow_private=False, timeout_s=5.0)
    told = refused(lambda: ask.get(f"http://{host}:{server.server_port}/picture", len(PICTURE)))
    assert told.code == "forbidden-address" and "LOOKALIKE_PRIVATE_ADDRESSES" in told.detail
    assert server.asked == []


def test_a_redirect_to_the_inside_is_not_followed(server: _Server) -> None:
    """The first host passes for a public one; where it sends on does not."""
    names = {"outside.example": ["::1", "127.0.0.1"]}

    class _Half(Outbound):
        def _connect(self, host: str, port: int, deadline: Any) -> socket.socket:
            if host != "outside.example":
                return super()._connect(host, port, deadline)
            opened = socket.create_connection(("127.0.0.1", port))
            deadline.watch(opened)
            return opened

    ask = _Half(allow_private=False, timeout_s=5.0, resolve=lambda host, _: names.get(host, [host]))
    url = f"http://outside.example:{server.server_port}/to/http:||127.0.0.1:{server.server_port}|picture"
    assert refused(lambda: ask.get(url, len(PICTURE))).code == "forbidden-address"
    assert len(server.asked) == 1


def test_a_name_with_one_address_inside_is_refused_and_resolved_once() -> None:
    answers = iter([[PUBLIC, INSIDE], [PUBLIC]])
    ask = Outbound(allow_private=False, timeout_s=1.0, resolve=lambda *_: next(answers))
    assert refused(lambda: ask.get("http://both.example/", 10)).code == "forbidden-address"
    assert next(answers) == [PUBLIC]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "picture.png",
        "file:///etc/passwd",
        "ftp://example.com/x",
        "http://",
        "http://user:secret@example.com/",
        "http://example.com:99999/",
        "http://example.com:0/",
        "http://exa mple.com/",
        "http://example.com/\r\nX: y",
        "http://exämple.com/",
        "http://[::1/",
        "http://example.com/" + "a" * 3000,
        "http://" + "a" * 64 + ".example/",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    assert refused(lambda: Outbound(allow_private=True, timeout_s=1.0).get(url, 10)).code == "bad-address"


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.0.2.1", "192.168.1.1",
        "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "::ffff:10.0.0.1", "64:ff9b::7f00:1",
        "2002:7f00:1::", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "fc00::1", "fe80::1", "fe80::1%eth0",
        "ff02::1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", [PUBLIC, "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::5db8:d822"])
def test_addresses_that_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("https://example.org", "https://example.org"),
        ("https://example.org:8443/", "https://example.org:8443/"),
        ("https://me:s3cret@example.org/hook", "https://***@example.org/***"),
        ("https://example.org?token=s3cret", "https://example.org/***"),
        ("https://example.org/#s3cret", "https://example.org/***"),
        ("http://[::1]:80/s3cret", "http://[::1]:80/***"),
        ("http://[s3cret", "***"),
        ("https:me:s3cret@example.org", "***"),
        ("http://me:s3/cret@example.org", "***"),
    ],
)
def test_of_an_address_only_who_is_asked_is_told(url: str, masked: str) -> None:
    assert masked_address(url) == masked


@pytest.mark.parametrize(
    "url",
    [
        "http://me:s3cret@127.0.0.1:1/s3cret?s3cret=s3cret#s3cret",
        "http://127.0.0.1:1/s3cret?s3cret=s3cret#s3cret",
        "ftp://127.0.0.1/s3cret",
        "http://127.0.0.1:1/s3cret space",
        "http://[/s3cret",
        "http://" + "a" * 70 + ".test/s3cret",
        "http://127.0.0.1/" + "s3cret" * 400,
    ],
)
def test_no_error_repeats_what_may_be_a_secret(url: str) -> None:
    outbound = Outbound(allow_private=True, timeout_s=2.0)
    for ask in (lambda: outbound.get(url, 10), lambda: outbound.post(url, b"", {})):
        assert "s3cret" not in refused(ask).detail


def test_no_error_about_what_was_answered_repeats_a_secret() -> None:
    with Receiver((302,) * 4, location="/s3cret?s3cret") as receiver:
        url = receiver.address.replace("hook?x=1", "s3cret?s3cret")
        assert Outbound(allow_private=True, timeout_s=5.0).post(url, b"", {}).status == 302
        assert "s3cret" not in refused(lambda: Outbound(allow_private=True, timeout_s=5.0).get(url, 10)).detail
