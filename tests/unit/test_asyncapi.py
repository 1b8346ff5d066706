"""docs/kafka.asyncapi.yaml is valid, and says what the code does."""

import ast
import json
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml

from contract.errors import RejectedError
from contract.messages import (
    ID_SIZE_BYTES_MAX,
    IMAGE_SIZE_BYTES_MAX,
    MESSAGE_SIZE_BYTES_MAX,
    METADATA_SIZE_BYTES_MAX,
    Rejection,
    check_image_id,
)
from contract.record_key import RecordKey
from contract.settings import load_settings
from tests.checkers.install import checkers  # noqa: F401  # the fixture
from topics.matches import MatchSource, WatchMatch, match_id

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "kafka.asyncapi.yaml"


@pytest.fixture(scope="module")
def document() -> Any:
    return yaml.safe_load(DOCUMENT.read_text())


@pytest.mark.timeout(600)  # The first run installs the parser.
def test_document_is_valid_asyncapi(checkers: Path) -> None:  # noqa: F811
    done = subprocess.run(
        ["node", "asyncapi.mjs", str(DOCUMENT)], cwd=checkers, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_limits_are_those_of_the_code(document: Any) -> None:
    schemas = document["components"]["schemas"]
    assert schemas["imageFile"]["maxLength"] == IMAGE_SIZE_BYTES_MAX
    assert schemas["imageId"]["maxLength"] == ID_SIZE_BYTES_MAX
    assert schemas["imageHeaders"]["properties"]["metadata"]["maxLength"] == METADATA_SIZE_BYTES_MAX
    settings = load_settings()
    for channel, topic in (("images", settings.kafka_topic), ("imagesRejected", settings.rejected_topic)):
        assert document["channels"][channel]["address"] == topic
        kafka = document["channels"][channel]["bindings"]["kafka"]
        assert kafka["partitions"] == settings.kafka_partitions
        assert kafka["topicConfiguration"]["max.message.bytes"] == MESSAGE_SIZE_BYTES_MAX


def test_a_match_is_as_the_document_says(document: Any) -> None:
    settings = load_settings()
    channel = document["channels"]["imagesMatches"]
    assert channel["address"] == settings.matches_topic
    retention_ms = channel["bindings"]["kafka"]["topicConfiguration"]["retention.ms"]
    assert retention_ms == settings.matches_retention_hours * 3_600_000
    schemas = document["components"]["schemas"]
    source = MatchSource(log=f"images:{'a' * 22}", partition=0, offset=7, timestamp=1)
    key = RecordKey(source.log, source.partition, source.offset)
    for verdict in (None, "altered copy"):
        match = WatchMatch(match_id("a" * 32, key), "a" * 32, "", "default", "id", 0.5, source, verdict, 1)
        told = json.loads(msgspec.json.encode(match))
        schema = {**schemas["match"], "properties": {**schemas["match"]["properties"], "image": schemas["imageId"]}}
        jsonschema.validate(told, schema, jsonschema.Draft7Validator)
        assert set(told) == set(schemas["match"]["required"])


@pytest.mark.parametrize("image_id", ["a", "mnist/train/00001", "ü 🐈", "x" * 256, "", "a\nb", "\x7f", "\x85"])
def test_key_pattern_agrees_with_the_code(document: Any, image_id: str) -> None:
    schema = document["components"]["schemas"]["imageId"]
    try:
        accepted = check_image_id(image_id) == image_id
    except RejectedError:
        accepted = False
    assert jsonschema.Draft7Validator(schema).is_valid(image_id) == accepted


def test_headers_of_a_rejection_are_those_of_the_document(document: Any) -> None:
    schema = document["components"]["schemas"]["rejectionHeaders"]
    headers = Rejection(
        reason="corrupt", detail="It is cut.", topic="images", key=RecordKey(f"images:{'a' * 22}", 1, 17)
    ).headers()
    found = {name: value.decode() for name, value in headers}
    jsonschema.validate(found, schema, jsonschema.Draft7Validator)
    assert set(found) == set(schema["required"])


def test_every_reason_that_the_code_gives_is_in_the_document(document: Any) -> None:
    known = set(document["components"]["schemas"]["rejectionHeaders"]["properties"]["lookalike-reason"]["enum"])
    given = set()
    for path in [
        *(ROOT / "contract").glob("*.py"),
        *(ROOT / "model").glob("*.py"),
        *(ROOT / "model/pictures").glob("*.py"),
    ]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "RejectedError":
                given |= {part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant)}
    assert {"bad-key", "empty", "too-many-scans"} <= given
    assert given <= known
