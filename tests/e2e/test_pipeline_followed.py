"""One image is followed through all parts of the pipeline, by the id of the request that brought it and in a trace."""

import json
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from kafka import KafkaProducer

from contract.settings import Settings
from lookalike_client import Client
from stack import programs
from stack.process import start_child
from tests.collector import Collector, Seen
from tests.conftest import fresh_settings
from tests.e2e.test_pipeline import Sent, answer, digit
from tests.waiting import wait_for
from topics.rejected import read_rejected
from topics.topic import ensure_topics

# Ends before its format says so, which only the embedder notices.
TRUNCATED = digit(3)[:-40]


def publish(settings: Settings, value: bytes, image_id: str, **headers: str) -> dict[str, Any]:
    """What the API answers, as any program would ask it."""
    request = urllib.request.Request(f"{settings.api_address}/v1/images?id={image_id}", value, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        assert response.headers["X-Request-Id"] == headers["X-Request-Id"]
        answer: dict[str, Any] = json.load(response)
        return answer


def told(settings: Settings, program: str, request_id: str) -> list[str]:
    """Events in a program's log that name a request."""
    lines = (settings.var_dir / "logs" / f"{program}.log").read_text().splitlines()
    return [json.loads(line)["event"] for line in lines if f'"{request_id}"' in line]


def test_the_id_of_a_request_is_in_the_logs_of_all_parts_and_in_what_is_rejected(
    running: Settings, client: Client
) -> None:
    watch = client.watch(digit(970), max_distance=0.5)
    wait_for(lambda: next((w for w in client.watches() if w.id == watch.id and w.is_watched), None))
    publish(running, digit(970), "followed", **{"X-Request-Id": "followed-1"})
    publish(running, TRUNCATED, "followed-badly", **{"X-Request-Id": "followed-2"})
    wait_for(lambda: told(running, "watcher", "followed-1") or None)
    assert told(running, "api", "followed-1") == ["published"]
    assert told(running, "embedder", "followed-1") == ["batch"]
    wait_for(lambda: told(running, "indexer", "followed-1") or None)
    assert told(running, "indexer", "followed-1") == ["published"]
    assert told(running, "watcher", "followed-1") == ["matches told"]

    wait_for(lambda: "rejected" in told(running, "embedder", "followed-2") or None)
    rejected = [dict(each.headers) for each in read_rejected(running) if each.key == b"followed-badly"]
    assert [headers["x-request-id"] for headers in rejected] == [b"followed-2"]


TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def tree(spans: list[Seen]) -> dict[str, tuple[str, str]]:
    """Of each span, by its name, the service and the name of what it belongs to."""
    names = {span.span_id: span.name for span in spans} | {CALLER: "caller"}
    return {span.name: (span.service, names[span.parent_id]) for span in spans}


def test_one_image_has_one_trace_from_its_producer_until_it_is_found(
    running: Settings, client: Client, plain: KafkaProducer, collector: Collector
) -> None:
    def of_trace(trace_id: str, count: int) -> list[Seen]:
        return wait_for(
            lambda: ((found := collector.spans(lambda s: s.trace_id == trace_id))[count - 1 :] and found) or None
        )

    watch = client.watch(digit(971), max_distance=0.5)
    wait_for(lambda: next((w for w in client.watches() if w.id == watch.id and w.is_watched), None))
    given = f"00-{TRACE}-{CALLER}-01"
    others = [plain.send(running.kafka_topic, key=b"untraced", value=digit(n)) for n in range(980, 983)]
    headers = [("traceparent", given.encode())]
    sent = Sent(plain, running.kafka_topic, key=b"traced", value=digit(971), headers=headers)
    assert answer(client, digit(971), sent)[0] == ("traced", 0.0)
    spans = of_trace(TRACE, 7)
    assert tree(spans) == {
        "embed image": ("embedder", "caller"),
        "decode and embed": ("embedder", "embed image"),
        "store": ("embedder", "embed image"),
        "write feed": ("embedder", "embed image"),
        "index image": ("indexer", "embed image"),
        "serve image": ("api", "index image"),
        "tell watches": ("watcher", "embed image"),
    }
    about = {span.name: span.attributes for span in spans}
    for name in ("embed image", "index image", "serve image", "tell watches"):
        assert about[name]["lookalike.image.id"] == "traced"
        assert about[name]["messaging.kafka.offset"] == sent.where.offset
    ends = {span.name: span.end_ns for span in spans}
    assert ends["decode and embed"] <= ends["write feed"] <= ends["index image"]
    assert all(span.begin_ns <= span.end_ns and not span.has_failed for span in spans)

    # Over HTTP, the request and the sending come first; a bad image's trace ends with the embedder, which says why.
    caller = {"traceparent": given.replace(TRACE, TRACE[::-1]), "X-Request-Id": "traced-2"}
    publish(running, TRUNCATED, "traced-badly", **caller)
    spans = of_trace(TRACE[::-1], 6)
    assert {name: parent for name, (_, parent) in tree(spans).items()} == {
        "POST /v1/images": "caller",
        "send image": "POST /v1/images",
        "embed image": "send image",
        "decode and embed": "embed image",
        "store": "embed image",
        "write feed": "embed image",
    }
    assert [span.name for span in spans if span.has_failed] == ["embed image"]
    assert next(s for s in spans if s.name == "POST /v1/images").attributes["lookalike.request.id"] == "traced-2"

    # A search has a trace of its own.
    client.search(digit(971), k=1)
    is_search = lambda s: s.name == "POST /v1/search" and s.attributes["http.response.status_code"] == 200  # noqa: E731
    search = wait_for(lambda: collector.spans(is_search) or None)[-1]
    assert search.parent_id == "" and search.trace_id not in (TRACE, TRACE[::-1])
    assert {"decode", "encode", "search"} <= {s.name for s in of_trace(search.trace_id, 4)}
    assert len(others) == 3 and not collector.spans(lambda s: s.attributes.get("lookalike.image.id") == "untraced")


def test_a_trace_lacks_the_spans_of_a_part_until_that_has_the_setting_too(
    stack: Settings, tmp_path: Path, collector: Collector
) -> None:
    changes = {"var_dir": tmp_path, "cassandra_keyspace": f"{stack.cassandra_keyspace}_untraced"}
    settings = fresh_settings(stack, tmp_path, **changes, otlp_endpoint=collector.endpoint)
    ensure_topics(settings)
    client = Client(settings.api_address)

    def publish_and_find(image_id: str, trace_id: str) -> None:
        given = {"traceparent": f"00-{trace_id}-{CALLER}-01", "X-Request-Id": image_id}
        written = publish(settings, digit(972), image_id, **given)
        client.search_id(image_id, min_offsets=written["min_offsets"], wait_ms=60_000)

    with ExitStack() as children:
        for service in (programs.indexer(settings), programs.api(settings)):
            children.callback(start_child(service).stop, 10.0)
        wait_for(lambda: programs.answers_ready(settings.api_address) or None, timeout_s=120)
        untraced = start_child(programs.embedder(settings.model_copy(update={"otlp_endpoint": ""})))
        try:
            publish_and_find("before", "1" * 32)
        finally:
            untraced.stop(20.0)
        children.callback(start_child(programs.embedder(settings)).stop, 10.0)
        publish_and_find("after", "2" * 32)
        wait_for(lambda: collector.spans(lambda s: (s.trace_id, s.name) == ("2" * 32, "serve image")) or None)
    of_others = {"POST /v1/images", "send image", "index image", "serve image"}
    of_embedder = {"embed image", "decode and embed", "store", "write feed"}
    assert {s.name for s in collector.spans(lambda s: s.trace_id == "1" * 32)} == of_others
    assert {s.name for s in collector.spans(lambda s: s.trace_id == "2" * 32)} == of_others | of_embedder
