"""Where the API listens and who reaches it: refused starts, TLS, other pages, and a proxy that serves it below a path."""

import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import yaml

from api.access.listening import check_listening, tls_options
from api.connections import BoundedLoop
from api.server import serve
from contract.errors import ConfigurationError
from contract.settings import Settings, load_settings
from lookalike_client import ApiError, Client
from stack.programs import answers_ready
from tests.api_gallery import Gallery, digit, running_api, settings_for
from tests.keys import add_key, bearer, revoke
from tests.unit.test_api_problems import check_problem

ROOT = Path(__file__).parents[2]
OTHER_PAGE = "https://shop.example"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "gallery.example"])
def test_no_stranger_is_let_near_an_api_without_keys(tmp_path: Path, host: str) -> None:
    settings = settings_for(tmp_path, api_host=host)
    with pytest.raises(ConfigurationError, match=rf"LOOKALIKE_API_HOST={re.escape(host)}: .*keys create.*127\.0\.0\.1"):
        serve(settings, 1)
    add_key(settings.keys_file, "first", "search")
    check_listening(settings)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_no_keys(tmp_path: Path, host: str) -> None:
    check_listening(settings_for(tmp_path, api_host=host))


def test_keys_that_cannot_be_read_are_refused_at_start(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    settings.keys_file.write_text("?")
    with pytest.raises(ConfigurationError, match=r"LOOKALIKE_KEYS_FILE=.*damaged"):
        serve(settings, 1)


def test_an_api_that_strangers_reach_answers_nobody_once_its_keys_are_gone(tmp_path: Path) -> None:
    """Its socket is on loopback here; what it was told decides."""
    settings = settings_for(tmp_path, api_host="0.0.0.0")
    Gallery(settings).put({"a": digit(0)})
    with running_api(settings) as address, httpx.Client(base_url=address, timeout=30) as client:
        check_problem(client.get("/v1/index"), 401, "key-needed")
        key = add_key(settings.keys_file, "first", "search")
        assert client.get("/v1/index", headers=bearer(key)).status_code == 200


def test_an_api_on_loopback_goes_on_without_keys_until_there_is_one(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    Gallery(settings).put({"a": digit(0)})
    with running_api(settings) as address, httpx.Client(base_url=address, timeout=30) as client:
        assert client.get("/v1/index").status_code == 200
        assert client.get("/v1/session").json()["key"] is None
        assert "Set-Cookie" not in client.post("/v1/session").headers
        key = add_key(settings.keys_file, "first", "search")
        check_problem(client.get("/v1/index"), 401, "key-needed")
        assert client.get("/v1/index", headers=bearer(key)).status_code == 200
        # Neither the last key's end nor the file's opens the door to everybody.
        assert revoke(settings, "first") == 0
        check_problem(client.get("/v1/index"), 401, "key-needed")
        settings.keys_file.unlink()
        check_problem(client.get("/v1/index", headers=bearer(key)), 401, "wrong-key")
        for spoilt in ("{", "[]", '{"format": 2, "keys": []}'):
            settings.keys_file.write_text(spoilt)
            check_problem(client.get("/v1/index", headers=bearer(key)), 503, "keys-unreadable")
            assert client.get("/livez").status_code == 200


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    files = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=lookalike "
        f"-addext subjectAltName=IP:127.0.0.1 -out {files[0]} -keyout {files[1]}".split(),
        check=True,
        capture_output=True,
    )
    return files


def test_the_api_speaks_tls(tmp_path: Path, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    chain, key_file = certificate
    settings = settings_for(tmp_path, api_tls_certificate_file=chain, api_tls_key_file=key_file)
    Gallery(settings).put({"a": digit(0)})
    key = add_key(settings.keys_file, "me", "search")
    with running_api(settings) as address:
        assert address == f"https://127.0.0.1:{settings.api_port}"
        with pytest.raises(ApiError, match="CERTIFICATE_VERIFY_FAILED"):
            Client(address, api_key=key).index()
        monkeypatch.setenv("SSL_CERT_FILE", str(chain))
        assert Client(address, api_key=key).search(digit(0), k=1).matches[0].id == "a"
        with httpx.Client(base_url=address, verify=ssl.create_default_context(cafile=str(chain))) as client:
            cookie = client.post("/v1/session", headers=bearer(key)).headers["Set-Cookie"]
            assert "Secure" in cookie
            assert client.get("/v1/index").status_code == 200
        with pytest.raises(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{settings.api_port}/livez")
        monkeypatch.delenv("SSL_CERT_FILE")
        assert answers_ready(address, chain), "whoever starts it knows its certificate"


def test_a_handshake_that_does_not_end_is_not_waited_for(
    tmp_path: Path, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert BoundedLoop.handshake_s <= 5.0
    monkeypatch.setattr(BoundedLoop, "handshake_s", 0.6)
    chain, key_file = certificate
    settings = settings_for(tmp_path, api_tls_certificate_file=chain, api_tls_key_file=key_file)
    Gallery(settings).put({"a": digit(0)})
    started = bytes.fromhex("16030100c8010000c4")  # of a message of TLS that promises more than follows
    with running_api(settings) as address:
        for said in (b"", started):
            with socket.create_connection(("127.0.0.1", settings.api_port), timeout=10) as silent:
                silent.sendall(said)
                began_s = time.monotonic()
                assert silent.recv(1024) == b""
                assert 0.4 < time.monotonic() - began_s < 3.0
        tls = ssl.create_default_context(cafile=str(chain))
        assert httpx.get(f"{address}/livez", verify=tls).status_code == 200


def test_a_certificate_that_cannot_be_used_is_refused_at_start(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    chain, key_file = certificate
    (tmp_path / "locked.pem").write_bytes(
        subprocess.run(
            ["openssl", "pkey", "-in", key_file, "-aes256", "-passout", "pass:secret"], check=True, capture_output=True
        ).stdout
    )
    for wrong in ({"api_tls_key_file": key_file}, {"api_tls_certificate_file": chain}):
        with pytest.raises(ConfigurationError, match=r"LOOKALIKE_API_TLS_.*is not set"):
            tls_options(load_settings(**wrong))
    for pair in ((tmp_path / "none", key_file), (chain, chain), (chain, tmp_path / "locked.pem")):
        settings = settings_for(tmp_path, api_tls_certificate_file=pair[0], api_tls_key_file=pair[1])
        with pytest.raises(ConfigurationError, match=r"LOOKALIKE_API_TLS_CERTIFICATE_FILE=.*cannot be used"):
            serve(settings, 1)


@pytest.fixture(scope="module")
def below_a_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, str]]:
    """An API that a proxy serves below a path, and that pages of another origin may ask."""
    settings = settings_for(
        tmp_path_factory.mktemp("api"), root_path="/look/alike", api_cors_origins=f"{OTHER_PAGE},http://localhost:3000"
    )
    Gallery(settings).put({f"digit/{n}": digit(n) for n in range(3)})
    with running_api(settings):
        yield settings, f"http://127.0.0.1:{settings.api_port}"


class Proxy(BaseHTTPRequestHandler):
    """Hands on what lies below a path, and nothing else."""

    target = ""
    takes_off = True

    def do_GET(self) -> None:
        """Fetch it from the API."""
        self.do_POST()

    def do_POST(self) -> None:
        """The same."""
        below = self.path.removeprefix("/look/alike")
        if below == self.path:
            self.send_error(418)
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = below if self.takes_off else self.path
        answer = httpx.request(
            self.command,
            f"{self.target}{path}",
            content=body,
            headers={"Content-Type": self.headers.get("Content-Type") or ""},
        )
        self.send_response(answer.status_code)
        for name in ("Content-Type", "Location", "Set-Cookie", "X-Request-Id"):
            if name in answer.headers:
                self.send_header(name, answer.headers[name])
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.mark.parametrize("takes_off", [True, False])
def test_behind_a_proxy_every_link_leads_through_it(below_a_path: tuple[Settings, str], takes_off: bool) -> None:
    _, address = below_a_path
    handler = type("Own", (Proxy,), {"target": address, "takes_off": takes_off})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as proxy:
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        try:
            check_links(f"http://127.0.0.1:{proxy.server_port}")
        finally:
            proxy.shutdown()
            thread.join()


def check_links(outside: str) -> None:
    answer = Client(f"{outside}/look/alike").search(digit(0), k=1)
    link = answer.raw["matches"][0]["thumbnail_url"]
    assert link.startswith("/look/alike/v1/images/thumbnail?")
    check_problem(httpx.get(f"{outside}{link}"), 503, "cassandra-unavailable")
    newest = httpx.get(f"{outside}/look/alike/v1/collections/default/index").json()["newest"]
    assert newest[0]["thumbnail_url"].startswith("/look/alike/v1/")
    page = httpx.get(f"{outside}/look/alike/")
    docs = httpx.get(f"{outside}/look/alike/docs")
    for shown in (page, docs):
        for name in re.findall(r'(?:src|href)="([^"#]+)"', shown.text):
            assert httpx.get(shown.url.join(name)).status_code == 200, name
    bare = httpx.get(f"{outside}/look/alike")
    assert (bare.status_code, bare.headers.get("Location")) in ((308, "/look/alike/"), (200, None))
    document = httpx.get(f"{outside}/look/alike/openapi.json").json()
    assert document["servers"] == [{"url": "/look/alike"}]
    assert "/v1/search" in document["paths"]
    check_problem(httpx.get(f"{outside}/look/alike/nope"), 404, "unknown-route")
    check_problem(httpx.post(f"{outside}/look/alike/livez"), 405, "method-not-allowed")


def test_a_path_below_which_nothing_could_be_told_apart_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ("/v1", "/metrics/x", "look", "/look/", "/..", "/a b"):
        monkeypatch.setenv("LOOKALIKE_ROOT_PATH", wrong)
        with pytest.raises(ConfigurationError, match="LOOKALIKE_ROOT_PATH"):
            load_settings()


def test_only_pages_that_the_setting_names_may_ask(below_a_path: tuple[Settings, str]) -> None:
    settings, address = below_a_path
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    allowed = httpx.options(f"{address}/v1/search", headers={"Origin": OTHER_PAGE, **asks})
    assert (allowed.status_code, allowed.headers["Access-Control-Allow-Origin"]) == (200, OTHER_PAGE)
    assert "authorization" in allowed.headers["Access-Control-Allow-Headers"].lower()
    assert "Access-Control-Allow-Credentials" not in allowed.headers, "no other page's cookie opens anything"
    for foreign in ("https://evil.example", "null", "https://shop.example.evil.example", "http://shop.example"):
        assert httpx.options(f"{address}/v1/search", headers={"Origin": foreign, **asks}).status_code == 400
        answer = httpx.get(f"{address}/v1/index", headers={"Origin": foreign})
        assert "Access-Control-Allow-Origin" not in answer.headers
    # Also errors, so that a page can tell what is wrong.
    key = add_key(settings.keys_file, "page", "search", "publish")
    refused = httpx.get(f"{address}/v1/index", headers={"Origin": OTHER_PAGE})
    assert (refused.status_code, refused.headers["Access-Control-Allow-Origin"]) == (401, OTHER_PAGE)
    let_in = httpx.delete(f"{address}/v1/watches/0123", headers={"Origin": OTHER_PAGE, **bearer(key)})
    assert (let_in.status_code, let_in.headers["Access-Control-Allow-Origin"]) == (503, OTHER_PAGE)


@pytest.mark.parametrize("origins", ["*", "https://a.example/", "a.example", "https://a.example https://b.example"])
def test_an_origin_that_is_none_is_refused_at_start(monkeypatch: pytest.MonkeyPatch, origins: str) -> None:
    monkeypatch.setenv("LOOKALIKE_API_CORS_ORIGINS", origins)
    with pytest.raises(ConfigurationError, match="LOOKALIKE_API_CORS_ORIGINS"):
        load_settings()


def test_containers_get_their_first_key_before_the_api_starts() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    api, keys = compose["services"]["api"], compose["services"]["keys"]
    assert api["environment"]["LOOKALIKE_API_HOST"] == "0.0.0.0"
    assert api["depends_on"]["keys"] == {"condition": "service_completed_successfully"}
    assert keys["command"][:3] == ["api", "keys", "create"]
    assert "--if-none" in keys["command"]
    assert "keys:/var/lib/lookalike/keys:ro" in api["volumes"]
    assert "keys:/var/lib/lookalike/keys" in keys["volumes"]
    assert "LOOKALIKE_KEYS_FILE=/var/lib/lookalike/keys/" in (ROOT / "Dockerfile").read_text()
