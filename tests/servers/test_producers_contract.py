"""Real messages on both topics agree with docs/kafka.asyncapi.yaml."""

from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import yaml

from contract.messages import IMAGE_SIZE_BYTES_MAX, Rejection
from contract.record_key import RecordKey
from contract.settings import Settings
from model import mnist
from tests.kafka_topic import read_topic
from topics.batch_publisher import BatchPublisher
from topics.publisher import ImagePublisher
from topics.rejected import rejected_message
from topics.topic import ensure_topics

PNG = mnist.png(np.zeros((28, 28), np.uint8))
DOCUMENT = Path(__file__).parents[2] / "docs" / "kafka.asyncapi.yaml"


@pytest.fixture(scope="module")
def messages() -> Any:
    """The document's messages with their references resolved."""
    document = yaml.safe_load(DOCUMENT.read_text())

    def resolve(node: Any) -> Any:
        if isinstance(node, list):
            return [resolve(part) for part in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            found = document
            for name in node["$ref"].removeprefix("#/").split("/"):
                found = found[name]
            return resolve(found)
        return {name: resolve(part) for name, part in node.items()}

    return resolve(document["components"]["messages"])


def check(message: Any, record: Any) -> None:
    """Bytes are a string of as many characters to the schemas; keys and headers are text."""
    parts = [(message["payload"], None if record.value is None else record.value.decode("latin-1"))]
    if record.key is not None:
        parts.append((message["bindings"]["kafka"]["key"], record.key.decode("utf-8", "replace")))
    if "headers" in message:
        parts.append((message["headers"], {name: value.decode() for name, value in record.headers}))
    for schema, instance in parts:
        jsonschema.validate(instance, schema, jsonschema.Draft7Validator)


def test_images_and_deletions_agree_with_the_document(settings: Settings, messages: Any) -> None:
    ensure_topics(settings)
    with ImagePublisher(settings) as publisher:
        publisher.put(PNG, image_id="ü/1", metadata={"label": 7})
        publisher.put(PNG)
        publisher.put(PNG + bytes(IMAGE_SIZE_BYTES_MAX - len(PNG)), image_id="largest")
        publisher.delete("ü/1")
    records = read_topic(settings)
    assert len(records) == 4
    for record in records:
        check(messages["deletion" if record.value is None else "image"], record)
    with pytest.raises(jsonschema.ValidationError):
        check(messages["deletion"], next(record for record in records if record.value is not None))


def test_rejections_agree_with_the_document(settings: Settings, messages: Any) -> None:
    ensure_topics(settings)
    with ImagePublisher(settings) as publisher:
        publisher.put(PNG, image_id="a", metadata={"label": 7})
        publisher.delete("b")
        log = publisher.log
    refused = [
        rejected_message(
            record,
            Rejection(
                reason="corrupt",
                detail="It is cut.",
                topic=record.topic,
                key=RecordKey(log, record.partition, record.offset),
            ),
        )
        for record in read_topic(settings)
    ]
    rejected = BatchPublisher(settings, settings.rejected_topic)
    rejected.publish(refused)
    rejected.close()
    records = read_topic(settings, settings.rejected_topic)
    assert sorted(record.key for record in records) == [b"a", b"b"]
    for record in records:
        check(messages["rejection"], record)
