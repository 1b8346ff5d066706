"""What an earlier version wrote is read for ever, what a newer one wrote is never misread, and versions are told."""

import gzip
import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
from multiprocessing.connection import Connection
from pathlib import Path
from socket import socketpair
from types import SimpleNamespace
from typing import Any

import anyio
import msgspec
import pytest

from api.answers.stored_records import StoredRecords
from api.app import create_app
from contract.errors import ConfigurationError, DependencyError, NewerVersionError
from contract.record_key import RecordKey
from contract.settings import DIGITS_ENCODER, PREFIX, load_settings
from contract.version import VERSION
from gallery.generations.manifest import read_other_format
from gallery.generations.reader import Reader
from gallery.generations.serving import Serving, ServingFile
from gallery.store import schema
from gallery.store.feed_rows import FEED_VERSION, feed_rows
from gallery.store.store import Store
from model import limited_process
from model.encoder import load_encoder
from model.pictures.decoder import Decoder, DecoderQuestion
from tests.golden_0_2_0 import GOLDEN, expected, rejected_messages, stored_rows
from tests.waiting import wait_for
from topics.matches import MatchSource, WatchMatch, parse_match
from topics.rejected import parse_rejected
from topics.versions import MESSAGE_VERSION, VERSION_HEADER, version_header

ROOT = Path(__file__).parents[2]
# Of every version of the schema that was ever on main, so that none changes without a number of its own. A released one never changes.
SCHEMAS = {
    2: "d1ce283950e36fe9",
    3: "3aabbe7b9d53d167",  # origin of a record in the feed
    4: "c5395fa11307be80",  # engine of a collection, and who writes tables of embeddings
    5: "458cdbd434b210e1",  # engine whose index grows beside the one that answers
}


def test_schema_does_not_change_without_a_version_of_its_own() -> None:
    """Where this fails: raise `SCHEMA_VERSION` if the last one was released, say which statements are new, and add the checksum."""
    statements = [" ".join(statement.split()) for statement in schema.schema_statements()]
    found = hashlib.sha256("\n".join(statements).encode()).hexdigest()[:16]
    assert (max(SCHEMAS), SCHEMAS[max(SCHEMAS)]) == (schema.SCHEMA_VERSION, found)
    assert schema.SCHEMA_OLDEST <= schema.SCHEMA_VERSION


def test_schema_only_adds() -> None:
    """Every table and column of 0.2.0 is there and means the same, so both versions work on one keyspace."""
    now = _columns((ROOT / "gallery/store/schema.cql").read_text())
    for table, columns in _columns((GOLDEN / "schema.cql").read_text()).items():
        assert columns.items() <= now[table].items()


def test_version_is_the_projects() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION


def test_settings_of_0_2_0_start_this_version(monkeypatch: pytest.MonkeyPatch) -> None:
    told = dict(line.split("=", 1) for line in (GOLDEN / "settings.env").read_text().splitlines())
    for name in os.environ:
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    known = {f"{PREFIX}{name.upper()}": str(value) for name, value in settings if value is not None}
    assert {name: value for name, value in told.items() if value} == {
        name: known.get(name) for name, value in told.items() if value
    }


def test_routes_parameters_and_fields_of_0_2_0_are_all_there() -> None:
    """Those of the API: additions are free, and nothing is taken away."""
    document = create_app(load_settings(encoder=DIGITS_ENCODER)).openapi()
    assert set((GOLDEN / "api.txt").read_text().splitlines()) - set(_promised(document)) == set()


def test_index_of_0_2_0_is_told_from_a_damaged_one_and_says_what_it_covers() -> None:
    folder = GOLDEN / "index" / DIGITS_ENCODER
    reader = Reader(folder, None)
    assert reader.current() is None and "has format 3, this program reads format 5" in reader.refused
    older = read_other_format(folder)
    assert older is not None and older.encoder == load_encoder(DIGITS_ENCODER).fingerprint
    offsets = {partition: coverage.next_offset for partition, coverage in older.logs[-1].partitions.items()}
    assert offsets == expected()["index"]["coverage"]["offsets"]
    assert ServingFile(GOLDEN / "index", "photo").current() == Serving(DIGITS_ENCODER, before="report-autoencoder")


def test_feed_rows_of_0_2_0_are_read_and_newer_ones_are_not_passed_over() -> None:
    place = RecordKey("images:x", 1, 0)

    def row(offset: int, version: int | None) -> tuple[Any, ...]:
        return offset, offset, b"put", b"", b"a", b"\0" * 512, 1000, 5, b"", None, None, version

    rows = feed_rows(place, [row(4, None), row(5, FEED_VERSION), row(6, FEED_VERSION + 1), row(7, None)])
    assert [found.key.offset for found in rows] == [4, 5]
    with pytest.raises(NewerVersionError, match=f"1:6 of images:x is of version {FEED_VERSION + 1}, .* {FEED_VERSION}"):
        feed_rows(place, [row(6, FEED_VERSION + 1), row(7, None)])
    assert sum(table == "feed" for table, _ in stored_rows()) > 40


def test_rejected_messages_of_0_2_0_are_read_and_newer_ones_are_not_passed_over() -> None:
    messages = rejected_messages()
    read = [parse_rejected(message) for message in messages]
    assert [message.rejection.reason for message in read if message].count("unsupported-type") == 2
    assert None not in read and all(
        message.headers == [] or message.headers[0][0] == "metadata" for message in read if message
    )
    for version in (str(MESSAGE_VERSION).encode(), b"", b"one", None):
        messages[0].headers = [*messages[0].headers, (VERSION_HEADER, version)]
        assert parse_rejected(messages[0]) == read[0]
    # One that a producer sent stands before ours.
    messages[0].headers = [(VERSION_HEADER, b"9"), *messages[0].headers, version_header()]
    assert parse_rejected(messages[0]) == read[0]
    messages[0].headers = [(VERSION_HEADER, str(MESSAGE_VERSION + 1).encode())]
    with pytest.raises(NewerVersionError, match=r"record 0:0 of images\.rejected is of version 2"):
        parse_rejected(messages[0])


def test_matches_of_a_newer_version_are_not_passed_over() -> None:
    match = WatchMatch("i", "w", "", "default", "a", 0.5, MatchSource("images:x", 0, 7, 1), None, 1)
    value = msgspec.json.encode(match)
    record = SimpleNamespace(offset=3, partition=0, topic="images.matches", value=value, headers=[version_header()])
    found = parse_match(record)
    assert found is not None and found.match == match
    record.value = value[:-1] + b',"more":1}'
    assert parse_match(record) == found
    record.headers, record.value = [(VERSION_HEADER, b"7")], b"anything"
    with pytest.raises(NewerVersionError, match=r"0:3 of images\.matches is of version 7"):
        parse_match(record)


def test_child_of_another_version_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the files are replaced under a running program, which then starts a child anew."""
    monkeypatch.setattr(limited_process, "VERSION", "0.2.9")
    decoder = Decoder(DIGITS_ENCODER)
    with pytest.raises(DependencyError, match=rf"is of version {VERSION}, this process of 0\.2\.9: .* Restart it"):
        decoder.decode([])
    decoder.close()


def test_child_answers_no_parent_that_does_not_greet(capfd: pytest.CaptureFixture[str]) -> None:
    """Such as one of 0.2.0: it would take the greeting for the answer to its first question, and that for its second's."""
    ours, theirs = socketpair()
    with theirs:
        arguments = [str(theirs.fileno()), DIGITS_ENCODER, "", "2", str(10**9), ""]
        child = subprocess.Popen(
            [sys.executable, "-m", "model.pictures.decoder_program", *arguments], cwd=ROOT, pass_fds=[theirs.fileno()]
        )
    pipe = Connection(ours.detach())
    pipe.send_bytes(msgspec.msgpack.encode(DecoderQuestion([])))
    with pytest.raises(EOFError):
        pipe.recv_bytes()
    assert child.wait(30) == 1
    assert f"this child is of version {VERSION}" in capfd.readouterr().err


def test_api_that_is_too_old_for_the_schema_answers_without_cassandra_and_says_why() -> None:
    def connect() -> Store:
        raise ConfigurationError("Keyspace lookalike has a schema of version 9")

    records = StoredRecords(connect, 1)
    records.start()

    def why() -> str | None:
        with pytest.raises(DependencyError) as told:
            records.store()
        return told.value.detail if "version 9" in told.value.detail else None

    assert wait_for(why) and not records.is_up
    anyio.run(records.stop)


def test_golden_files_are_as_they_were_committed() -> None:
    """They are what 0.2.0 wrote: a test that they break is mended in the code."""
    content = b"".join(
        path.read_bytes() for path in sorted(GOLDEN.rglob("*")) if path.is_file() and path.name != "make.py"
    )
    assert hashlib.sha256(content).hexdigest()[:16] == "b2585a7019364418"
    assert json.loads(gzip.decompress((GOLDEN / "rows.jsonl.gz").read_bytes()).splitlines()[0])[0] == "logs"


def _columns(cql: str) -> dict[str, dict[str, str]]:
    """Columns with their types, by table."""
    found: dict[str, dict[str, str]] = {}
    for table, body in re.findall(r"CREATE TABLE IF NOT EXISTS (\w+) \((.*?)\n\);", cql, re.DOTALL):
        lines = [line.strip().rstrip(",") for line in body.splitlines() if line.strip()]
        found[table] = {line.partition(" ")[0]: line.partition(" ")[2] for line in lines}
    return found


def _promised(document: dict[str, Any]) -> list[str]:
    """What the API's document names, one line each, as tests/golden/0.2.0/make.py wrote it."""
    lines = []
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            lines.append(f"{method.upper()} {path}")
            lines += [f"{method.upper()} {path} ? {each['name']}" for each in route.get("parameters", [])]
            lines += [f"{method.upper()} {path} {status}" for status in route["responses"]]
    for name, schema_ in document["components"]["schemas"].items():
        lines += [f"{name} . {field}" for field in schema_.get("properties", {})]
    return lines
