"""Names of collections, and the settings that follow from one."""

import pytest

from contract.collections import (
    Collection,
    check_collection_name,
    default_collection,
    settings_of,
)
from contract.errors import ConfigurationError
from contract.settings import load_settings

HOLIDAYS = Collection(name="holidays", encoder="photo", partitions=2, created_at_ms=7)


@pytest.mark.parametrize("name", ["a", "holiday-2026", "a" * 63])
def test_a_name_may_be(name: str) -> None:
    assert check_collection_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "A", "1a", "-a", "a_b", "a.b", "a/b", "a" * 64, "ä", "a\n", "rejected", "matches", "all"]
)
def test_a_name_may_not_be(name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be named"):
        check_collection_name(name)


def test_the_default_collection_is_the_settings_as_they_are() -> None:
    settings = load_settings(encoder="contrast", kafka_topic="pictures")
    assert settings_of(settings, default_collection(settings)) is settings


def test_a_collection_has_a_topic_an_encoder_and_an_index_of_its_own() -> None:
    settings = load_settings(encoder="contrast", kafka_topic="pictures", next_encoder="photo")
    own = settings_of(settings, HOLIDAYS)
    assert (own.kafka_topic, own.rejected_topic) == ("pictures.holidays", "pictures.holidays.rejected")
    assert (own.kafka_partitions, own.encoder, own.next_encoder) == (2, "photo", "")
    assert own.index_dir == settings.index_dir / "_collections" / "holidays"
    assert own.cassandra_keyspace == settings.cassandra_keyspace
