"""A former self is told by what it subscribes to, in whatever text kafka-python makes of its metadata."""

import pytest
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata

from contract.collections import chosen_collections
from contract.errors import ConfigurationError
from workers.embedder.assignor import SpreadingAssignor
from workers.embedder.members import Instance, _names


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


def test_a_former_self_is_the_same_slot_of_the_same_machine_alone() -> None:
    """Machines whose names end alike, or look like slots, are others."""
    new = Instance.of("lookalike-x-f00", ["images:a"], machine="node-1", slot=1)
    assert new.is_former_self(Instance.of("lookalike-x-f00", ["images:a", "images.b:c"], machine="node-1", slot=1).text)
    for machine, slot in (("my-node-1", 1), ("node-1", 11), ("node-1", 0), ("node-1-slot-1", 1), ("1", 1), ("node", 1)):
        other = Instance.of("lookalike-x-f00", ["images:b"], machine=machine, slot=slot)
        assert not new.is_former_self(other.text), other.text
    assert not new.is_former_self("lookalike-x-f00-0123456789abcdef-slot-1")  # as versions before named it
    assert len(Instance.of("g" * 100, [], machine="m" * 100, slot=10**6).text) < 249


def test_collections_are_all_or_named_and_names_are_checked() -> None:
    assert chosen_collections("all") == ()
    assert chosen_collections("default,cats") == ("default", "cats")
    for text in ("Cats", "cats,", "rejected", "a b"):
        with pytest.raises(ConfigurationError, match="collection"):
            chosen_collections(text)
