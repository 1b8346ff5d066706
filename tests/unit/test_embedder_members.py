"""A former self is told by what it subscribes to, in whatever text kafka-python makes of its metadata."""

import pytest
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata

from contract.collections import chosen_collections
from contract.errors import ConfigurationError
from workers.embedder.assignor import SpreadingAssignor
from workers.embedder.members import _names


def as_told(*topics: str) -> str:
    """What kafka-python says of a member that subscribes to these."""
    user_data = b'{"assignment": {}, "url": "http://\xc3\xa4"}\xff'
    encoded: bytes = ConsumerProtocolMemberMetadata(SpreadingAssignor.VERSION, sorted(topics), user_data).encode()
    return encoded.decode(errors="backslashreplace")


@pytest.mark.parametrize(
    "topics", [("images",), ("images", "images.cats"), tuple(f"images.c{n}-{'x' * n}" for n in range(200))]
)
def test_a_member_is_the_same_where_it_subscribes_to_exactly_the_same_topics(topics: tuple[str, ...]) -> None:
    told = as_told(*topics)
    assert _names(told, set(topics))
    assert not _names(told, {*topics, "images.dogs"})
    assert not _names(told, {*topics[1:], "images.dogs"})
    assert not _names(as_told(*topics, "zebra"), set(topics))
    assert not _names(None, set(topics))
    assert not _names({"topics": list(topics)}, set(topics))


def test_collections_are_all_or_named_and_names_are_checked() -> None:
    assert chosen_collections("all") == ()
    assert chosen_collections("default,cats") == ("default", "cats")
    for text in ("Cats", "cats,", "rejected", "a b"):
        with pytest.raises(ConfigurationError, match="collection"):
            chosen_collections(text)
