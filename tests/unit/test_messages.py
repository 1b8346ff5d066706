"""The message contract: ids, metadata, signatures and the headers of a rejected record."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from api.answers.records import Metadata
from contract.errors import RejectedError
from contract.messages import IMAGE_SIZE_BYTES_MAX, Rejection, check_value, image_id_of, metadata_of
from contract.record_key import RecordKey

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def reason_of(call: object, *arguments: object) -> str:
    with pytest.raises(RejectedError) as caught:
        call(*arguments)  # type: ignore[operator]
    return caught.value.reason


def test_record_without_key_is_named_by_the_sha256_of_its_value() -> None:
    assert image_id_of(None, b"abc") == hashlib.sha256(b"abc").hexdigest()


@pytest.mark.parametrize("key", [b"a", b"mnist/train/00001", "😀/../%2F?#".encode(), b"x" * 256])
def test_any_text_of_up_to_256_bytes_is_an_id(key: bytes) -> None:
    assert image_id_of(key, None).encode() == key


@pytest.mark.parametrize("key", [b"", b"x" * 257, b"\xff", b"a\nb", b"a\x00", "\x85".encode(), b"\xed\xa0\x80"])
def test_bad_keys_are_refused(key: bytes) -> None:
    assert reason_of(image_id_of, key, b"value") == "bad-key"


def test_null_value_without_key_names_nothing() -> None:
    assert reason_of(image_id_of, None, None) == "missing-key"


@given(st.dictionaries(st.text(max_size=8), JSON_VALUES, max_size=5))
def test_metadata_round_trips(metadata: dict[str, object]) -> None:
    raw = json.dumps(metadata).encode()
    try:
        text = metadata_of([("other", None), ("metadata", raw)])
    except RejectedError:
        assert "\\ud" in raw.decode()  # lone surrogates are JSON, but no Unicode text
    else:
        assert json.loads(text) == metadata


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[1]",
        b"{",
        b"\xff",
        b'{"a": NaN}',
        b'{"a": 1e400}',
        b'"text"',
        b"{" * 5000,
        b'{"a":"' + b"x" * 16384 + b'"}',
        b"[" * 16000,
        b'{"a":' * 65 + b"1" + b"}" * 65,
        b'{"a":' + b"[" * 64 + b"]" * 64 + b"}",
    ],
)
def test_bad_metadata_is_refused(raw: bytes) -> None:
    assert reason_of(metadata_of, [("metadata", raw)]) == "bad-metadata"


def test_metadata_nested_as_deep_as_is_taken_can_be_answered() -> None:
    text = metadata_of([("metadata", b'{"a":' * 64 + b"1" + b"}" * 64)])
    assert TypeAdapter(Metadata).dump_json(json.loads(text)).decode() == text


def test_two_metadata_headers_are_refused() -> None:
    assert reason_of(metadata_of, [("metadata", b"{}"), ("metadata", b"{}")]) == "bad-metadata"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(IMAGE_SIZE_BYTES_MAX), "too-large"),
        (b"%PDF-1.7", "unsupported-type"),
        (b"<html>", "unsupported-type"),
        (b"RIFF0000WAVE", "unsupported-type"),
    ],
)
def test_what_cannot_be_an_image_is_refused_before_decoding(value: bytes, reason: str) -> None:
    assert reason_of(check_value, value) == reason


@given(st.text(max_size=40), st.integers(0, 100), st.integers(0, 2**62))
def test_rejection_headers_round_trip(detail: str, partition: int, offset: int) -> None:
    detail = detail.encode("utf-8", "replace").decode()
    rejection = Rejection(
        reason="corrupt", detail=detail, topic="images", key=RecordKey("images:id", partition, offset)
    )
    assert Rejection.from_headers(rejection.headers()) == rejection
