"""What a record's headers say of its origin is taken only where it is sound."""

import pytest

from contract.messages import Headers
from contract.origin import UNKNOWN_ORIGIN, Origin, origin_of, requests_told

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_headers_of_an_origin_say_the_same_again() -> None:
    origin = Origin("request/7", TRACE)
    assert origin_of([("metadata", b"{}"), *origin.headers()]) == origin
    assert Origin("request/7").headers() == [("x-request-id", b"request/7")]
    assert UNKNOWN_ORIGIN.headers() == [] and origin_of([]) is UNKNOWN_ORIGIN


@pytest.mark.parametrize(
    "headers",
    [
        [("x-request-id", None), ("traceparent", None)],
        [("x-request-id", b"x" * 129)],
        [("x-request-id", b"a\nb"), ("traceparent", b"")],
        [("x-request-id", b"\xff\xfe")],
        [("traceparent", TRACE.upper().encode())],
        [("traceparent", f"00-{'0' * 32}-{'1' * 16}-01".encode())],
        [("traceparent", f"00-{'1' * 32}-{'0' * 16}-01".encode())],
        [("traceparent", f"{TRACE}-more".encode())],
        [("traceparent", TRACE.encode() + b"\n")],
        [("X-Request-Id", b"names of Kafka's headers have a case")],
    ],
)
def test_what_is_not_sound_is_passed_over(headers: Headers) -> None:
    assert origin_of(headers) is UNKNOWN_ORIGIN


def test_of_several_headers_of_a_name_the_first_counts() -> None:
    assert origin_of([("x-request-id", b"a"), ("x-request-id", b"b")]) == Origin("a")


def test_a_line_of_a_log_names_each_request_once_and_not_too_many() -> None:
    assert requests_told([UNKNOWN_ORIGIN, Origin("", TRACE)]) == {}
    assert requests_told([Origin("a"), Origin("b"), Origin("a")]) == {"requests": ["a", "b"]}
    assert len(requests_told(Origin(str(n)) for n in range(1000))["requests"]) == 20
