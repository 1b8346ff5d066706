"""Spans are sent as they are told, and OpenTelemetry costs nothing where traces are off."""

import ast
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from contract.origin import UNKNOWN_ORIGIN, Origin
from contract.record_key import RecordKey
from contract.settings import load_settings
from gallery.store.rows import FeedRow
from runtime.tracing import FOLLOWED_MS, TRACING, Tracing, span_of, within
from tests.api_gallery import Gallery, digit, running_api, settings_for
from tests.collector import Collector
from tests.unit.test_house import python_files
from workers.watcher.followed import follow_told

ROOT = Path(__file__).parents[2]
TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = f"00-{TRACE}-{CALLER}-01"
KEY = RecordKey("images:a", 3, 41)


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


def test_a_span_belongs_to_what_it_was_given_and_has_the_id_that_follows_from_its_record(collector: Collector) -> None:
    tracing = Tracing()
    tracing.start(load_settings(otlp_endpoint=f"{collector.endpoint}/"), "lookalike-test")
    for _ in range(2):  # a step that is done twice
        span = tracing.begin("embed", parent=GIVEN, begin_ns=10, span_id=span_of("embed", KEY, "f"))
        assert span is not None and span.traceparent == within(GIVEN, span_of("embed", KEY, "f"))
        span.end(failure="corrupt", end_ns=30, attributes={"n": 7})
    alone = tracing.begin("GET")
    assert alone is not None
    inner = tracing.begin("inner", parent=alone.traceparent)
    unsampled = tracing.begin("not sampled", parent=f"{GIVEN[:-1]}0")
    assert inner is not None and unsampled is not None and unsampled.traceparent.endswith("-00")
    for each in (unsampled, inner):
        each.end()
    alone.end(name="GET /v1/index")
    tracing.stop()
    sent = {span.name: span for span in collector.spans()}
    assert sent.keys() == {"embed", "GET /v1/index", "inner"} and len(collector.spans()) == 3
    embedded = sent["embed"]
    assert embedded[:7] == ("test", "embed", TRACE, span_of("embed", KEY, "f"), CALLER, 10, 30)
    assert embedded.has_failed and embedded.attributes == {"n": 7}
    assert (sent["inner"].trace_id, sent["inner"].parent_id) == (
        sent["GET /v1/index"].trace_id,
        sent["GET /v1/index"].span_id,
    )
    assert sent["GET /v1/index"].parent_id == "" and sent["GET /v1/index"].trace_id != TRACE


def test_a_record_is_followed_only_where_traces_are_on_it_says_where_it_belongs_and_it_is_young(
    collector: Collector,
) -> None:
    now_ms = time.time_ns() // 1_000_000
    origin = Origin("request", GIVEN)
    tracing = Tracing()
    tracing.start(load_settings(), "lookalike-test")
    assert tracing.begin("nothing") is None and not tracing.follows(origin, now_ms)
    tracing.start(load_settings(otlp_endpoint=collector.endpoint), "lookalike-test")
    assert tracing.follows(origin, now_ms)
    assert not tracing.follows(Origin("request"), now_ms) and not tracing.follows(UNKNOWN_ORIGIN, now_ms)
    assert not tracing.follows(origin, now_ms - FOLLOWED_MS)
    tracing.stop()


def test_a_process_ends_soon_although_its_collector_is_away(caplog: pytest.LogCaptureFixture) -> None:
    tracing = Tracing()
    tracing.start(load_settings(otlp_endpoint="http://127.0.0.1:9"), "lookalike-test")
    span = tracing.begin("lost")
    assert span is not None
    span.end()
    began_s = time.monotonic()
    tracing.stop()
    assert time.monotonic() - began_s < 10
    assert "Failed to export spans batch" in caplog.text


def test_nothing_is_sent_where_nothing_is_sampled(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    for sampler, count in (("always_off", 0), ("always_on", 1)):
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
        tracing = Tracing()
        tracing.start(load_settings(otlp_endpoint=collector.endpoint), "lookalike-test")
        span = tracing.begin("one")
        assert span is not None
        span.end()
        tracing.stop()
        assert len(collector.spans()) == count


def test_ids_of_spans_differ_by_step_record_and_encoder() -> None:
    keys = [KEY, KEY._replace(offset=4), KEY._replace(partition=34, offset=1), KEY._replace(log="images:b")]
    ids = {span_of(step, key, encoder) for step in ("embed", "index") for key in keys for encoder in ("a", "b")}
    assert len(ids) == 16 and all(len(each) == 16 and int(each, 16) for each in ids)


def test_opentelemetry_is_loaded_only_once_traces_are_on() -> None:
    """FastAPI loads its API, which does nothing, by itself; the SDK and the exporter are ours alone."""
    assert TRACING.recorder is None
    wrong = [
        str(path.relative_to(ROOT))
        for path in python_files("contract", "runtime", "topics", "producers", "workers", "gallery", "model", "api")
        for node in ast.parse(path.read_text()).body
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import) else [str(getattr(node, "module", ""))]
        )
        if name.startswith("opentelemetry") or name == "runtime.otlp"
    ]
    assert set(wrong) == {"runtime/otlp.py"}


def test_while_traces_are_off_a_part_that_ran_has_loaded_nothing_of_them() -> None:
    code = """
import sys
import topics.followed, workers.embedder.followed, workers.indexer_program, workers.watcher.program
from contract.settings import load_settings
from runtime.tracing import TRACING
TRACING.start(load_settings(otlp_endpoint=""), "lookalike-test")
assert TRACING.begin("nothing") is None
print([name for name in sys.modules if name.startswith("opentelemetry") or name == "runtime.otlp"])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_record_of_which_watches_were_told_has_one_span_however_many_they_are(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ms = time.time_ns() // 1_000_000
    told = FeedRow(KEY, 0, "put", "", "seen", b"", now_ms, origin=Origin("request", GIVEN))
    quiet = FeedRow(KEY._replace(offset=42), 0, "put", "", "quiet", b"", now_ms)
    monkeypatch.setattr(TRACING, "recorder", None)
    follow_told([told], "f", collection="default", began_ns=10)
    TRACING.start(load_settings(otlp_endpoint=collector.endpoint), "lookalike-test")
    follow_told([told, quiet, told], "f", collection="default", began_ns=10)
    TRACING.stop()
    (span,) = collector.spans()
    assert (span.name, span.trace_id, span.parent_id, span.begin_ns) == (
        "tell watches",
        TRACE,
        span_of("embed", KEY, "f"),
        10,
    )
    assert (span.attributes["lookalike.image.id"], span.attributes["lookalike.matches"]) == ("seen", 2)


def test_each_request_has_a_span_and_a_search_its_stages(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TRACING, "recorder", None)  # as it is put back at the end
    settings = settings_for(tmp_path, otlp_endpoint=collector.endpoint)
    Gallery(settings).put({"a": digit(0)})
    with running_api(settings) as address, httpx.Client(base_url=address, timeout=30) as client:
        own = {"X-Request-Id": "own-1", "Content-Type": "image/png"}
        assert client.post("/v1/search", content=digit(0), headers=own).status_code == 200
        headers = {"traceparent": GIVEN}
        assert client.get("/v1/collections/default/images", params={"id": "b"}, headers=headers).status_code == 404
        assert client.get("/livez").status_code == 200 and client.get("/v1/nope").status_code == 404
    TRACING.stop()
    sent = {span.name: span for span in collector.spans(lambda span: span.service == "api")}
    search = sent.pop("POST /v1/search")
    assert search.parent_id == "" and search.attributes["lookalike.request.id"] == "own-1"
    assert search.attributes["http.response.status_code"] == 200
    stages = [sent.pop(name) for name in ("decode", "encode", "search")]
    assert {(span.trace_id, span.parent_id) for span in stages} == {(search.trace_id, search.span_id)}
    assert all(search.begin_ns <= span.begin_ns <= span.end_ns <= search.end_ns for span in stages)
    sent.pop("lookup", None)
    below = sent.pop("GET /v1/collections/{collection}/images")
    assert (below.trace_id, below.parent_id, below.has_failed) == (TRACE, CALLER, False)
    assert sent.keys() == {"GET"}, "without a route, and nothing of /livez"
