"""Keys: without the right one nothing is answered, and a revoked one opens nothing from then on."""

import itertools
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from api.access.key_file import KeyFile
from api.access.keys import SCOPES, new_key
from api.access.needs import need_of
from commands.__main__ import main
from contract.settings import Settings
from lookalike_client import ApiError, Client
from tests.api_gallery import Gallery, digit, running_api, settings_for
from tests.keys import add_key, bearer, revoke
from tests.unit.test_api_problems import check_problem

# What is answered without a key, each for its reason in api/access/needs.py.
OPEN_OPERATIONS = {("get", "/livez"), ("get", "/readyz")}
ROOT = Path(__file__).parents[2]
OPEN_BESIDE = ["/", "/index.html", "/docs", "/docs.css", "/openapi.json"]


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gallery, Settings, httpx.Client, dict[str, str]]]:
    """An API with a key of each scope, one of none, and one for another collection."""
    settings = settings_for(tmp_path_factory.mktemp("api"))
    gallery = Gallery(settings)
    gallery.put({f"digit/{n}": digit(n) for n in range(3)})
    file = settings.keys_file
    keys = {str(scope): add_key(file, scope, scope) for scope in SCOPES}
    keys["elsewhere"] = add_key(file, "elsewhere", *SCOPES, collections=["holiday"])
    # Each request is to stand for itself, so what signs in is forgotten at once.
    forgetful = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    with running_api(settings) as address, httpx.Client(base_url=address, timeout=30, cookies=forgetful) as client:
        yield gallery, settings, client, keys


def operations(client: httpx.Client) -> list[tuple[str, str]]:
    paths = client.get("/openapi.json").json()["paths"]
    return [(method, path) for path, methods in paths.items() for method in methods]


def asked(client: httpx.Client, method: str, path: str, **options: Any) -> httpx.Response:
    """The status of an operation; of an event stream, which would go on, no more is read."""
    filled = path.replace("{collection}", "default").replace("{id}", "0123")
    with client.stream(method.upper(), filled, **options) as response:
        if response.headers["content-type"].startswith("text/event-stream"):
            return response
        response.read()
    return response


def test_without_the_right_key_no_operation_of_the_document_is_answered(keyed: Any) -> None:
    *_, client, keys = keyed
    found = operations(client)
    assert len(found) > 45
    right, wrong_keys = keys["search"], ("x", keys["search"][:-1] + "!", new_key("other", SCOPES)[0])
    for method, path in found:
        if (method, path) in OPEN_OPERATIONS:
            assert asked(client, method, path).status_code == 200
            continue
        response = asked(client, method, path)
        check_problem(response, 401, "key-needed")
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="lookalike"'
        for wrong in wrong_keys:
            response = asked(client, method, path, headers=bearer(wrong))
            check_problem(response, 401, "wrong-key")
        for header in (f"Basic {right}", right, f"Bearer{right}", f"Bearer {right} {right}"):
            assert asked(client, method, path, headers={"Authorization": header}).status_code == 401
        # Neither as a parameter, which would stand in logs, nor below another name.
        assert asked(client, method, path, params={"key": right, "access_token": right}).status_code == 401
        assert asked(client, method, path, headers={"X-Api-Key": right}).status_code == 401


def test_every_operation_takes_a_key_of_its_scope_alone(keyed: Any) -> None:
    *_, client, keys = keyed
    document = client.get("/openapi.json").json()
    scopes_of, wanted = {}, []
    for method, path in operations(client):
        security = document["paths"][path][method].get("security")
        if (method, path) in OPEN_OPERATIONS:
            assert security is None
            continue
        (scopes,) = (each["key"] for each in security)
        scopes_of[method, path] = scopes
        wanted += [(method, path, scope, scopes) for scope in SCOPES]

    def check(asks: tuple[str, str, str, list[str]]) -> None:
        method, path, scope, scopes = asks
        # Nothing that could hurt: it lacks its parameters and body, or names what is not there.
        response = asked(client, method, path, headers=bearer(keys[scope]))
        is_right = not scopes or scope in scopes
        assert (response.status_code not in (401, 403)) == is_right, (method, path, scope, response.text)
        if not is_right:
            check_problem(response, 403, "scope-needed")
            assert f'scope="{scopes[0]}"' in response.headers["WWW-Authenticate"]

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(check, wanted))
    for method, path in scopes_of:
        below = re.sub(r"^/v1(/collections/\{collection\})?", "", path)
        expected = (
            []
            if path == "/v1/session"
            else ["search"]
            if method == "get" or below in ("/search", "/search/batch")
            else ["admin"]
            if below in ("", "/collections")
            else ["publish"]
        )
        assert scopes_of[method, path] == expected, (method, path)


def test_whatever_is_no_route_needs_a_key_too(keyed: Any) -> None:
    *_, client, keys = keyed
    for path in OPEN_BESIDE:
        assert client.get(path).status_code == 200
    script = re.search(r'src="\./(assets/[^"]+)"', client.get("/").text)
    assert script
    assert client.get(f"/{script[1]}").status_code == 200
    hidden = (
        "/nope /v1 /v1/ //v1/index /v1//index /V1/index /metrics/ /assets /./v1/index /livez/ /assets/../v1/index "
        "/livez/../metrics /docs/../metrics /%76%31/index /metrics%00"
    )
    for path in hidden.split():
        raw = httpx.URL(str(client.base_url)).copy_with(raw_path=path.encode())
        assert client.get(raw).status_code in (401, 404), path
        assert "generation" not in client.get(raw).text, path
    for method in ("HEAD", "OPTIONS", "PUT", "PATCH", "TRACE"):
        assert client.request(method, "/v1/index").status_code == 401
        assert client.request(method, "/v1/index", headers=bearer(keys["search"])).status_code in (403, 405)
    assert client.post("/livez").status_code == 401
    assert need_of("GET", "/v1/something/new") is not None
    assert need_of("POST", "/elsewhere") is not None


def test_a_key_for_a_collection_opens_that_one_alone(keyed: Any) -> None:
    _, settings, client, keys = keyed
    mine = add_key(settings.keys_file, "mine", *SCOPES, collections=["default"])
    for path in ("/v1/index", "/v1/collections/default/index", "/v1/images?id=digit/1", "/v1/collections/default"):
        assert client.get(path, headers=bearer(mine)).status_code == 200
        check_problem(client.get(path, headers=bearer(keys["elsewhere"])), 403, "other-collection")
    for path in ("/v1/collections/holiday", "/v1/collections/holiday/index", "/v1/collections/holiday/search"):
        check_problem(client.get(path, headers=bearer(mine)), 403, "other-collection")
    body = {"name": "more", "encoder": "contrast"}
    check_problem(client.post("/v1/collections", json=body, headers=bearer(mine)), 403, "other-collection")
    check_problem(client.get("/metrics", headers=bearer(mine)), 403, "other-collection")
    shown = {
        k: client.get("/v1/collections", headers=bearer(v)).json()["collections"]
        for k, v in (("m", mine), ("e", keys["elsewhere"]))
    }
    assert [each["name"] for each in shown["m"]] == ["default"]
    assert shown["e"] == []


def test_a_revoked_key_opens_nothing_and_ends_its_event_streams(keyed: Any) -> None:
    gallery, settings, client, _ = keyed
    key = add_key(settings.keys_file, "leaving", "search")
    assert client.get("/v1/index", headers=bearer(key)).status_code == 200
    has_begun, ended = threading.Event(), threading.Event()

    def follow() -> None:
        with (
            httpx.Client(timeout=60) as own,
            own.stream("GET", f"{client.base_url}/v1/index/events", headers=bearer(key)) as stream,
        ):
            for line in stream.iter_lines():
                if line.startswith("data:"):
                    has_begun.set()
        ended.set()

    thread = threading.Thread(target=follow)
    thread.start()
    assert has_begun.wait(10)
    assert revoke(settings, "leaving") == 0
    check_problem(client.get("/v1/index", headers=bearer(key)), 401, "wrong-key")
    gallery.put({"digit/more": digit(9)})  # an idle one ends with its next sign of life, 15 s later
    assert ended.wait(10)
    thread.join()


def test_a_key_over_its_rate_is_told_when_to_come_again(keyed: Any) -> None:
    _, settings, client, keys = keyed
    slow = add_key(settings.keys_file, "slow", "search", per_minute=3)
    for _ in range(3):
        assert client.get("/v1/index", headers=bearer(slow)).status_code == 200
    response = client.get("/v1/index", headers=bearer(slow))
    check_problem(response, 429, "over-rate")
    assert 1 <= int(response.headers["Retry-After"]) <= 20
    assert client.get("/v1/index", headers=bearer(keys["search"])).status_code == 200, "another key is not slowed down"


def test_no_key_shows_in_logs_errors_or_metrics(
    keyed: Any, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    _, settings, client, keys = keyed
    wrong = new_key("wrong", SCOPES)[0]
    said: list[str] = []

    def ask(asks: tuple[str, tuple[str, str]]) -> str:
        key, (method, path) = asks
        response = asked(client, method, path, headers={**bearer(key), "Cookie": f"lookalike_key={key}"})
        headers = str(response.headers.multi_items()) if path != "/v1/session" else ""  # where a browser signs in
        return headers if "text/event-stream" in headers else headers + response.text

    with structlog.testing.capture_logs() as logs, ThreadPoolExecutor(8) as threads:
        # Without Kafka the list of rejected records takes long.
        found = [(method, path) for method, path in operations(client) if not path.endswith("/rejected")]
        said += threads.map(ask, itertools.product([*keys.values(), wrong], found))
        said.append(client.get("/metrics", headers=bearer(keys["search"])).text)
        with pytest.raises(ApiError) as error:
            Client(str(client.base_url), api_key=wrong).index()
        said.append(repr(error.value))
    assert "lookalike_requests_refused_total" in said[-2]
    hashes = [stored.sha256 for stored in KeyFile(settings.keys_file).current().keys]
    text = "\n".join([*said, json.dumps(logs, default=str), caplog.text, *capfd.readouterr()])
    for secret in (*keys.values(), wrong, *hashes):
        assert secret not in text
        assert secret[-43:] not in text


def test_browsers_sign_in_and_send_the_key_by_themselves(keyed: Any) -> None:
    _, settings, client, _ = keyed
    check_problem(client.post("/v1/session", headers=bearer("x")), 401, "wrong-key")
    key = add_key(settings.keys_file, "person", "search", "publish")
    with httpx.Client(base_url=client.base_url, timeout=30) as browser:
        signed_in = browser.post("/v1/session", headers=bearer(key))
        assert signed_in.json() == {
            "key": key.split("_")[1],
            "name": "person",
            "scopes": ["publish", "search"],
            "collections": None,
        }
        cookie = signed_in.headers["Set-Cookie"]
        assert all(part in cookie for part in ("HttpOnly", "SameSite=strict", "Path=/"))
        assert browser.get("/v1/session").json()["name"] == "person"
        assert browser.get("/v1/images/thumbnail?id=digit/1").status_code == 503, "let in, and Cassandra is away"
        assert asked(browser, "get", "/v1/index/events").status_code == 200
        check_problem(browser.get("/metrics", headers=bearer("x")), 401, "wrong-key")
        # Another page has the browser send the cookie, but neither writes nor reads with it.
        for foreign in (
            {"Origin": "http://evil.example"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
        ):
            check_problem(browser.post("/v1/images?id=x", content=digit(0), headers=foreign), 403, "foreign-origin")
            check_problem(browser.get("/v1/index", headers=foreign), 403, "foreign-origin")
            check_problem(browser.delete("/v1/session", headers=foreign), 403, "foreign-origin")
        check_problem(browser.delete("/v1/images?id=x", headers={"Host": "evil.example"}), 403, "foreign-host")
        assert browser.delete("/v1/session").status_code == 204
        check_problem(browser.get("/v1/index"), 401, "key-needed")


def test_a_program_with_a_key_writes_whatever_the_host_is_called(keyed: Any) -> None:
    """The check of Host and Origin is for browsers, which send no Authorization by themselves."""
    *_, client, keys = keyed
    for headers in ({"Host": "gallery.example"}, {"Origin": "http://other.example"}):
        response = client.delete("/v1/watches/0123", headers=bearer(keys["publish"]) | headers)
        assert response.status_code == 503, response.text  # let in, and Cassandra is away


def test_the_client_sends_its_key_from_wherever_it_is_told(
    keyed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    *_, client, keys = keyed
    address = str(client.base_url)
    monkeypatch.delenv("LOOKALIKE_API_KEY", raising=False)
    with pytest.raises(ApiError, match="key-needed"):
        Client(address).index()
    assert Client(address, api_key=keys["search"]).index()["count"] >= 3
    picture = tmp_path / "digit.png"
    picture.write_bytes(digit(1))
    monkeypatch.setenv("LOOKALIKE_API_KEY", keys["search"])
    assert Client(address).index()["count"] >= 3
    command = [sys.executable, "-m", "commands", "search", str(picture), "--url", address, "--json"]
    answered = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE)
    assert json.loads(answered.stdout)["matches"][0]["id"] == "digit/1"
    monkeypatch.delenv("LOOKALIKE_API_KEY")
    monkeypatch.setenv("LOOKALIKE_API_KEY_FILE", str(tmp_path / "key"))
    with pytest.raises(ApiError, match="LOOKALIKE_API_KEY_FILE"):
        Client(address).index()
    (tmp_path / "key").write_text(f"{keys['search']}\n")
    assert Client(address).index()["count"] >= 3
    assert main(["watch", "--url", address, "--looks", "1"]) == 0
    (tmp_path / "key").write_text("wrong")
    assert main(["watch", "--url", address]) == 1
    assert "wrong-key" not in capsys.readouterr().out
