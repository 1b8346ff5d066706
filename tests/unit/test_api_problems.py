"""Every error is problem+json with its stable code, on every route."""

import json
import re
from collections.abc import Iterator

import httpx
import pytest

from contract.messages import IMAGE_SIZE_BYTES_MAX
from contract.telemetry import configure_logging
from lookalike_client import ApiError
from lookalike_client.problems import refusal
from tests.api_gallery import Gallery, digit, running_api, settings_for

PNG = {"Content-Type": "image/png"}
NAN = '{"embedding": [NaN' + ", 0" * 127 + "]}"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    settings = settings_for(tmp_path_factory.mktemp("api"))
    Gallery(settings).put({"a/b": digit(0), "../%2F?#": digit(1), "🦊": digit(2), "x" * 256: digit(3)})
    with running_api(settings) as address, httpx.Client(base_url=address, timeout=30) as client:
        yield client


def check_problem(response: httpx.Response, status: int, code: str) -> None:
    assert response.headers["content-type"] == "application/problem+json", response.text
    problem = response.json()
    assert (response.status_code, problem["status"], problem["code"]) == (status, status, code)
    assert problem["detail"].endswith(".")
    assert problem["title"]
    assert problem["type"] == "about:blank"
    assert problem["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("k=0", "bad-k"),
        ("k=1001", "bad-k"),
        ("k=x", "bad-k"),
        ("k=", "bad-k"),
        ("max_distance=-1", "bad-max-distance"),
        ("max_distance=nan", "bad-max-distance"),
        ("max_distance=inf", "bad-max-distance"),
        ("wait_ms=5001", "bad-wait-ms"),
        ("min_offsets=", "bad-min-offsets"),
        ("min_offsets=0", "bad-min-offsets"),
        ("min_offsets=0:-1", "bad-min-offsets"),
        ("min_offsets=0:1,", "bad-min-offsets"),
        ("min_offsets=0:99999999999999999999", "bad-min-offsets"),
        ("min_offsets=4:1", "unknown-partition"),
    ],
)
def test_a_bad_parameter_of_a_search_is_named(client: httpx.Client, query: str, code: str) -> None:
    check_problem(client.post(f"/v1/search?{query}", json={"image_id": "a/b"}), 400, code)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("", "bad-json"),
        ("{", "bad-json"),
        ("[" * 100_000, "too-large"),
        ("[" * 60_000, "bad-json"),
        ("[]", "bad-query"),
        ("{}", "bad-query"),
        ('{"image_id": "a", "embedding": []}', "bad-query"),
        ('{"image_id": "a", "encoder": "b"}', "bad-query"),
        ('{"embedding": [' + "0," * 127 + '0], "encoder": 5}', "bad-encoder"),
        ('{"image_id": 1}', "bad-image-id"),
        ('{"image_id": ""}', "bad-image-id"),
        ('{"image_id": "\\ud800"}', "bad-image-id"),
        ('{"embedding": []}', "bad-embedding"),
        ('{"embedding": [1, 2, 3]}', "bad-embedding"),
        (f'{{"embedding": [{", ".join(["0"] * 129)}]}}', "bad-embedding"),
        (NAN, "bad-embedding"),
        (NAN.replace("NaN", "Infinity"), "bad-embedding"),
        (NAN.replace("NaN", "1e39"), "bad-embedding"),
        (NAN.replace("NaN", "1e999"), "bad-embedding"),
        (NAN.replace("NaN", '"1"'), "bad-embedding"),
        (NAN.replace("NaN", "true"), "bad-embedding"),
    ],
)
def test_a_bad_json_query_is_refused(client: httpx.Client, body: str, code: str) -> None:
    response = client.post("/v1/search", content=body, headers={"Content-Type": "application/json"})
    check_problem(response, 413 if code == "too-large" else 400, code)


def test_an_embedding_of_the_largest_numbers_is_answered(client: httpx.Client) -> None:
    response = client.post("/v1/search", json={"embedding": [3.4e38] * 128})
    assert len(response.json()["matches"]) == 4


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "empty"),
        (b"<html>", 415, "unsupported-type"),
        (b"%PDF-1.7", 415, "unsupported-type"),
        (digit(1)[:100], 422, "truncated"),
    ],
)
def test_an_image_that_would_not_be_indexed_is_refused_for_the_same_reason(
    client: httpx.Client, body: bytes, status: int, code: str
) -> None:
    check_problem(client.post("/v1/search", content=body, headers=PNG), status, code)
    check_problem(client.post("/v1/search", files={"file": ("x", body)}), status, code)


@pytest.mark.parametrize("path", ["/v1/search", "/v1/images?id=x"])
def test_a_body_over_32_mib_is_refused_with_and_without_its_length(client: httpx.Client, path: str) -> None:
    value = digit(0) + bytes(IMAGE_SIZE_BYTES_MAX)
    check_problem(client.post(path, content=value, headers=PNG), 413, "too-large")
    chunks = (value[at : at + 65536] for at in range(0, len(value), 65536))
    check_problem(client.post(path, content=chunks, headers=PNG), 413, "too-large")
    check_problem(client.post(path, files={"file": ("x", value)}), 413, "too-large")


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_a_body_without_a_pictures_content_type_is_judged_by_its_first_bytes(client: httpx.Client, kind: str) -> None:
    response = client.post("/v1/search?k=1", content=digit(0), headers={"Content-Type": kind} if kind else {})
    assert [match["id"] for match in response.json()["matches"]] == ["a/b"]


@pytest.mark.parametrize("path", ["/v1/search", "/v1/images?id=x"])
def test_a_body_that_is_no_image_and_no_form_is_refused(client: httpx.Client, path: str) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        for body in (b"", b"image=x", b"{}", b"<svg/>"):
            response = client.post(path, content=body, headers={"Content-Type": kind})
            check_problem(response, 415, "unsupported-content-type")
    for kind in ("multipart/form-data", "multipart/form-data; boundary=x"):
        response = client.post(path, content=digit(0), headers={"Content-Type": kind})
        check_problem(response, 400, "bad-multipart")
    check_problem(client.post(path, files={"other": ("x", digit(0))}), 400, "bad-multipart")
    check_problem(client.post(path, data={"file": "text"}, files={"y": b""}), 400, "bad-multipart")


@pytest.mark.parametrize("image_id", ["a/b", "../%2F?#", "🦊", "x" * 256])
def test_an_id_may_hold_any_character(client: httpx.Client, image_id: str) -> None:
    assert client.get("/v1/images", params={"id": image_id}).json()["id"] == image_id
    match = client.post("/v1/search?k=1", json={"image_id": image_id}).json()["matches"][0]
    assert (match["id"], match["distance"]) == (image_id, 0)


@pytest.mark.parametrize("image_id", ["b", "..", "%2F", "?", "#", "a/b/", "\0", "é" * 200])
def test_an_unknown_id_is_not_found_wherever_it_is_asked_for(client: httpx.Client, image_id: str) -> None:
    for what in ("", "/thumbnail", "/original", "/timeline"):
        check_problem(client.get(f"/v1/images{what}", params={"id": image_id}), 404, "unknown-image")
    check_problem(client.post("/v1/search", json={"image_id": image_id}), 404, "unknown-image")


@pytest.mark.parametrize("image_id", ["a\nb", "é" * 129])
def test_an_id_that_could_not_name_an_image_cannot_be_written(client: httpx.Client, image_id: str) -> None:
    check_problem(client.post("/v1/images", params={"id": image_id}, content=digit(0), headers=PNG), 400, "bad-key")
    check_problem(client.delete("/v1/images", params={"id": image_id}), 400, "bad-key")


def test_bad_metadata_is_refused_before_it_is_published(client: httpx.Client) -> None:
    for metadata in ("{", "[]", '{"a": "' + "x" * 17000 + '"}'):
        response = client.post("/v1/images?id=x", files={"file": ("x", digit(0))}, data={"metadata": metadata})
        check_problem(response, 400, "bad-metadata")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Host": "evil.example"}, "foreign-host"),
        ({"Host": ""}, "foreign-host"),
        ({"Origin": "http://evil.example"}, "foreign-origin"),
        ({"Origin": "null"}, "foreign-origin"),
        ({"Origin": "http://127.0.0.1:1"}, "foreign-origin"),
    ],
)
def test_no_other_web_page_can_write(client: httpx.Client, headers: dict[str, str], code: str) -> None:
    check_problem(client.post("/v1/images?id=x", content=digit(0), headers=PNG | headers), 403, code)
    check_problem(client.delete("/v1/images?id=x", headers=headers), 403, code)


def test_every_route_refuses_other_methods_and_missing_parameters_in_the_same_shape(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert len(paths) > 8
    for documented, operations in paths.items():
        path = documented.replace("{collection}", "default")
        response = client.request("PATCH", path)
        check_problem(response, 405, "method-not-allowed")
        assert response.headers["Allow"] == ", ".join(method.upper() for method in operations)
        for method, operation in operations.items():
            required = [
                parameter["name"]
                for parameter in operation.get("parameters", [])
                if parameter["required"] and parameter["in"] == "query"
            ]
            if required:
                check_problem(client.request(method, path), 400, f"missing-{required[0]}")
    for path in ("/nope", "/v1", "/v1/search/", "/v1/images/a%2Fb", "/..%2f..%2fetc/passwd"):
        check_problem(
            client.get(httpx.URL(f"{client.base_url}").copy_with(raw_path=path.encode())), 404, "unknown-route"
        )


def test_every_answer_forbids_a_browser_foreign_code(client: httpx.Client) -> None:
    for path in ("/", "/docs.css", "/docs", "/v1/index", "/nope", "/openapi.json"):
        response = client.get(path)
        assert "script-src 'self'" in response.headers["Content-Security-Policy"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
    for path in ("/", "/docs"):
        page = client.get(path).text
        assert "<style" not in page
        assert "style=" not in page
        assert "<script>" not in page
        assert "//" not in page.replace("<!doctype", "")


def test_a_request_has_an_id_its_own_where_that_can_stand_in_a_header_and_a_log(
    client: httpx.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    def given(request_id: str, path: str = "/livez") -> str:
        told: str = client.get(path, headers={"X-Request-Id": request_id}).headers["x-request-id"]
        return told

    assert given("check-out/7:a.b") == "check-out/7:a.b" and given("x" * 128) == "x" * 128
    made = {given(wrong) for wrong in ("", "x" * 129, "a b", '"', "a,b", "<script>")}
    assert len(made) == 6 and all(re.fullmatch(r"[0-9a-f]{32}", each) for each in made)
    configure_logging()
    refused = client.post("/v1/search", content=b"no image", headers={**PNG, "X-Request-Id": "refused-1"})
    check_problem(refused, 415, "unsupported-type")
    with pytest.raises(ApiError, match="request refused-2"):
        raise refusal(415, refused.content.replace(b"refused-1", b"refused-2"))
    (line,) = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "refused-1" in line]
    assert (line["event"], line["status"], line["code"]) == ("request refused", 415, "unsupported-type")
