"""What a client may send that no client should: raw bytes for a connection, and whether it hangs up in the middle."""

import json
import random
import socket
import struct
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import quote

from tests.mutations import mutated
from tests.unit.test_images import FILES

SMALL = [value for value in FILES.values() if len(value) < 20_000]
FILTERS = [
    '{"must": [{"key": "label", "match": {"value": 7}}]}',
    '{"should": [{"key": "a", "range": {"gte": 1}}, {"is_null": {"key": "b"}}]}',
    '{"must_not": [{"has_id": ["digit/1"]}]}',
]
QUERIES = [
    b'{"image_id": "digit/1"}',
    b'{"image_id": "digit/1", "k": 3, "filter": {"must": [{"key": "label", "match": {"value": 7}}]}}',
    b'{"searches": [{"image_id": "digit/1"}, {"image_id": "digit/2", "k": 2}]}',
]
PATHS = [
    "/v1/search", "/v1/search/batch", "/v1/images", "/v1/images/timeline", "/v1/images/thumbnail", "/v1/images/original", "/v1/rejected",
    "/v1/index", "/v1/watches", "/v1/collections", "/v1/collections/default/search", "/v1/duplicates", "/v1/session",
    "/metrics", "/readyz", "/livez", "/openapi.json", "/", "/assets/", "/%2e%2e/%2e%2e/etc/passwd", "/../../etc/passwd", "//", "/v1//search",
    "/v1/search%00", "/\u00e4".encode().decode("latin-1"), "*", "http://elsewhere.example/v1/index",
]  # fmt: skip
METHODS = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "CONNECT", "get", "G\0T", "PRI"]
NAMES = [
    "k",
    "offset",
    "max_distance",
    "filter",
    "as_of",
    "min_offsets",
    "wait_ms",
    "effort",
    "generation",
    "with",
    "id",
    "at",
    "url",
    "sort",
]
VALUES = [
    "", "0", "-1", "1e9", "NaN", "inf", "-inf", "9" * 400, "1.5", "true", "null", "\0", "%", "%zz", "ä", "\ud83d", "0:1", "0:-1,x", "0:" + "9" * 30,
    "2026-01-31T12:00:00Z", "9999-99-99", "../x", "thorough", "a" * 3000, "{", "[]", "file:///etc/passwd", "http://127.0.0.1:9/", *FILTERS,
]  # fmt: skip
HEADERS = [
    "X: y", "no colon", ": empty", "X : y", " folded", "X: \0", "X: \x7f\x80\xff", "Host: a\r\nHost: b", "Connection: upgrade\r\nUpgrade: websocket",
    "Content-Length: -1", "Content-Length: +5", "Content-Length: 1e3", "Content-Length: 5, 6", "Content-Length: 5\r\nContent-Length: 6",
    "Content-Length: 99999999999999999999999", "Content-Length: 41943040", "Content-Length: 5\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: gzip", "Transfer-Encoding: chunked, chunked", "Transfer-Encoding: xchunked", "Expect: 100-continue", "Expect: 7",
    "Content-Encoding: gzip", "Content-Type: multipart/form-data", "Content-Type: multipart/form-data; boundary=", "Content-Type: \xff/\xff",
    "Range: bytes=9-1,-", "Origin: null", "Cookie: lookalike=\0; =;;", "Authorization: Bearer ", "Authorization: Basic !!", "Accept: */*;q=x",
    "If-None-Match: \"", "X-Forwarded-For: ::::", "Last-Event-ID: -9", "X-Long: " + "x" * 9000, *["\r\n".join(f"X-{n}: y" for n in range(300))],
]  # fmt: skip
CHUNKS = [
    b"5\r\nhello\r\n0\r\n\r\n", b"-5\r\nhello\r\n", b"zz\r\n", b"5\r\nhelloworld\r\n0\r\n\r\n", b"FFFFFFFFFFFFFFFFF\r\nx", b"7fffffffffffffff\r\nx",
    b"5;" + b"e" * 9000 + b"\r\nhello\r\n", b"0\r\nTrailer: x\r\nContent-Length: 9\r\n\r\n", b"5\nhello\n0\n\n", b"\r\n\r\n", b"5\r\nhel", b"0x5\r\nhello\r\n0\r\n\r\n",
]  # fmt: skip
PART = 'Content-Disposition: form-data; name="{}"; filename="{}"'


class Hostile(NamedTuple):
    """Bytes for one connection, and how it ends: not at all, with no more to come (FIN), or broken off (RST)."""

    kind: str
    sent: bytes
    ending: str


def hostile_request(chance: random.Random) -> Hostile:
    """One of any kind."""
    make = chance.choice(_KINDS)
    return Hostile(make.__name__.strip("_"), make(chance), chance.choice(["wait", "end", "end", "reset"]))


def exchange(port: int, hostile: Hostile, timeout_s: float = 120.0) -> bytes:
    """What is answered until the other side closes, or b"" where we break off."""
    said = b""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as client:
        try:
            client.sendall(hostile.sent)
            if hostile.ending == "reset":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return b""
            if hostile.ending == "end":
                client.shutdown(socket.SHUT_WR)
            while more := client.recv(65536):
                said += more
        except (ConnectionResetError, BrokenPipeError):  # it has had enough of what we send
            pass
    return said


def _head(method: str, target: str, *headers: str) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: x", "Connection: close", *headers]
    return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n"


def _with_body(target: str, kind: str, body: bytes) -> bytes:
    return _head("POST", target, f"Content-Type: {kind}", f"Content-Length: {len(body)}") + body


def _bad_options(chance: random.Random) -> bytes:
    options = [
        f"{chance.choice(NAMES)}={quote(chance.choice(VALUES), errors='surrogatepass')}"
        for _ in range(chance.randint(1, 4))
    ]
    target = f"{chance.choice(PATHS[:13])}?{'&'.join(options)}"
    if chance.random() < 0.5:
        return _head(chance.choice(METHODS[:4]), target)
    return _with_body(target, "image/png", chance.choice(SMALL))


def _bad_filter(chance: random.Random) -> bytes:
    told = mutated(chance.choice(FILTERS).encode(), [each.encode() for each in FILTERS], chance)
    return _with_body(f"/v1/search?filter={quote(told)}", "image/png", SMALL[1])


def _bad_picture(chance: random.Random) -> bytes:
    kind = chance.choice(["image/png", "image/jpeg", "application/octet-stream", "text/html", "image/svg+xml"])
    return _with_body("/v1/search?k=3", kind, mutated(chance.choice(SMALL), SMALL, chance))


def _bad_json(chance: random.Random) -> bytes:
    body = mutated(chance.choice(QUERIES), QUERIES, chance)
    return _with_body(
        chance.choice(["/v1/search", "/v1/search/batch", "/v1/watches", "/v1/collections"]), "application/json", body
    )


def _bad_form(chance: random.Random) -> bytes:
    part = PART.format(chance.choice(["file", "k", "\xff", "a" * 300]), chance.choice(["x.png", "../../x", '"', ""]))
    body = f"--b\r\n{part}\r\n\r\n".encode("latin-1") + chance.choice(SMALL) + b"\r\n--b--\r\n"
    if chance.random() < 0.7:
        body = mutated(body, SMALL, chance)
    return _with_body("/v1/search", "multipart/form-data; boundary=b", body)


def _bad_headers(chance: random.Random) -> bytes:
    headers = [chance.choice(HEADERS) for _ in range(chance.randint(1, 3))]
    return _head(chance.choice(METHODS), chance.choice(PATHS), *headers) + chance.choice([b"", b"hello"])


def _bad_chunks(chance: random.Random) -> bytes:
    head = _head("POST", "/v1/search", "Content-Type: image/png", "Transfer-Encoding: chunked")
    return head + chance.choice(CHUNKS) + chance.choice([b"", *CHUNKS])


def _cut_off(chance: random.Random) -> bytes:
    whole = _with_body("/v1/search", "image/png", chance.choice(SMALL))
    return whole[: chance.randrange(1, len(whole))]


def _pipelined(chance: random.Random) -> bytes:
    several = [b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"] * chance.randint(1, 5)
    several[chance.randrange(len(several))] = chance.choice(_KINDS[:6])(chance).replace(b"Connection: close\r\n", b"")
    return b"".join(several) + chance.choice([b"", b"\0\0", b"GET"])


def _oversize(chance: random.Random) -> bytes:
    return _head("POST", "/v1/search", "Content-Type: image/png", f"Content-Length: {33 << 20}") + bytes(
        chance.choice([0, 1, 70_000])
    )


def _no_http(chance: random.Random) -> bytes:
    return chance.choice(
        [chance.randbytes(chance.randint(1, 3000)), b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", b"\r\n" * 50, b"GET /\r\n\r\n",
         b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET " + b"/" * 70_000, b"\0" * 100, b"SSH-2.0-x\r\n"]
    )  # fmt: skip


def _changed(chance: random.Random) -> bytes:
    whole = chance.choice(_KINDS[:6])(chance)
    return mutated(whole, [json.dumps(QUERIES[0].decode()).encode(), whole], chance)


_KINDS: list[Callable[[random.Random], bytes]] = [
    _bad_options, _bad_filter, _bad_picture, _bad_json, _bad_form, _bad_headers, _bad_chunks, _cut_off, _pipelined, _oversize, _no_http, _changed,
]  # fmt: skip
