"""Clusters: what follows from the number of nodes, and what cannot be is refused with the setting that asks for it."""

from pathlib import Path

import pytest
import yaml

from contract.errors import ConfigurationError
from contract.settings import load_settings
from gallery.store.keyspace import keyspace_statement
from gallery.store.session import compares
from stack import groups
from stack.cassandra import cassandra, note_joined
from stack.kafka import kafka
from stack.nodes import nodes


def test_with_three_nodes_programs_come_to_all_of_them_and_ask_for_as_many_replicas() -> None:
    settings = load_settings(stack_nodes=3, kafka_bootstrap="127.0.0.1:19092")
    assert settings.kafka_bootstrap == "127.0.0.1:19092,127.0.0.2:19092,127.0.0.3:19092"
    assert settings.cassandra_hosts == "127.0.0.1,127.0.0.2,127.0.0.3"
    assert (settings.kafka_replication, settings.cassandra_replication, settings.cassandra_heap_mib) == (3, 3, 512)
    assert load_settings(**settings.model_dump()) == settings
    told = load_settings(stack_nodes=3, cassandra_replication=2, cassandra_heap_mib=700)
    assert (told.cassandra_replication, told.cassandra_heap_mib) == (2, 700)


def test_one_node_is_as_it_was() -> None:
    settings = load_settings()
    assert [service.name for service in groups.steps(settings, "servers")[0]] == ["cassandra", "kafka"]
    assert (settings.kafka_replication, settings.cassandra_replication) == (0, 1)


@pytest.mark.parametrize("number", [0, 2, 4])
def test_another_number_of_nodes_is_refused(number: int) -> None:
    with pytest.raises(ConfigurationError, match=f"LOOKALIKE_STACK_NODES={number}: .*name 1 or 3"):
        load_settings(stack_nodes=number)


def test_addresses_other_than_those_of_the_nodes_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"LOOKALIKE_KAFKA_BOOTSTRAP=.*127\.0\.0\.3 only"):
        kafka(load_settings(stack_nodes=3, kafka_bootstrap="127.0.0.1:1,127.0.0.2:1,127.0.0.3:2"))
    with pytest.raises(ConfigurationError, match=r"LOOKALIKE_CASSANDRA_HOSTS=127\.0\.0\.1,127\.0\.0\.2:"):
        cassandra(load_settings(stack_nodes=3, cassandra_hosts="127.0.0.1,127.0.0.2"))
    with pytest.raises(ConfigurationError, match="LOOKALIKE_STACK_SECURED=true with LOOKALIKE_STACK_NODES=3"):
        kafka(load_settings(stack_nodes=3, stack_secured=True))


@pytest.mark.parametrize(("made", "asked"), [("data", 3), ("1", 1)])
def test_data_of_another_number_of_nodes_are_not_passed_over(tmp_path: Path, made: str, asked: int) -> None:
    (tmp_path / "kafka" / made).mkdir(parents=True)
    with pytest.raises(ConfigurationError, match=rf"STACK_NODES={asked}, but .*kafka was made with {4 - asked}"):
        kafka(load_settings(stack_nodes=asked, var_dir=tmp_path))


def test_three_nodes_have_a_third_of_the_ring_each_and_wait_for_none(tmp_path: Path) -> None:
    settings = load_settings(stack_nodes=3, var_dir=tmp_path)
    found = []
    for number in (1, 2, 3):
        service = cassandra(settings, number)
        service.prepare()
        found.append(yaml.safe_load((tmp_path / "cassandra" / str(number) / "conf" / "cassandra.yaml").read_text()))
        assert service.host == found[-1]["listen_address"] == found[-1]["rpc_address"] == f"127.0.0.{number}"
        assert service.ports["LOOKALIKE_CASSANDRA_JMX_PORT"] == settings.cassandra_jmx_port + number - 1
    tokens = [int(each["initial_token"]) for each in found]
    assert tokens[1] == 0 and tokens[2] - tokens[1] == tokens[1] - tokens[0] == 2**64 // 3
    assert all(each["hinted_handoff_enabled"] and not each["auto_bootstrap"] for each in found)


def test_a_node_that_lost_its_folder_takes_its_own_place_until_it_has_its_rows(tmp_path: Path) -> None:
    settings = load_settings(stack_nodes=3, var_dir=tmp_path)
    node = nodes(settings, "cassandra")[1]
    file = node.home / "conf" / "cassandra.yaml"

    def prepared() -> tuple[bool, str]:
        cassandra(settings, 2).prepare()
        told = yaml.safe_load(file.read_text())
        return told["auto_bootstrap"], told["seed_provider"][0]["parameters"][0]["seeds"]

    assert prepared() == (False, settings.cassandra_hosts)
    note_joined(node)
    assert prepared() == (False, settings.cassandra_hosts)
    file.unlink()
    (node.home / "joined").unlink()
    assert prepared() == prepared() == (True, "127.0.0.1,127.0.0.3")
    note_joined(node)
    assert prepared() == (False, settings.cassandra_hosts)


def test_keyspace_is_made_in_one_data_centre_with_the_replicas_that_are_asked_for() -> None:
    asked = load_settings(cassandra_replication=3)
    assert "{'class': 'NetworkTopologyStrategy', 'east': 3}" in keyspace_statement(asked, {"east": 3})
    named = load_settings(cassandra_replication=2, cassandra_datacenter="west")
    assert "'west': 2}" in keyspace_statement(named, {"east": 3, "west": 2})


def test_replicas_beyond_the_nodes_are_refused_with_the_setting() -> None:
    with pytest.raises(ConfigurationError, match="LOOKALIKE_CASSANDRA_REPLICATION=3, but data centre east has 2 nodes"):
        keyspace_statement(load_settings(cassandra_replication=3), {"east": 2})


def test_data_centre_that_is_not_there_or_not_named_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"LOOKALIKE_CASSANDRA_DATACENTER=north: .* has east, west"):
        keyspace_statement(load_settings(cassandra_datacenter="north"), {"east": 3, "west": 3})
    with pytest.raises(ConfigurationError, match=r"LOOKALIKE_CASSANDRA_DATACENTER is not set, .* has east, west"):
        keyspace_statement(load_settings(), {"east": 3, "west": 3})


def test_only_what_compares_before_it_sets_is_never_done_twice() -> None:
    assert compares("INSERT INTO collections (topic) VALUES (?) IF NOT EXISTS")
    assert compares("UPDATE collections SET dropped = true WHERE topic = ? AND name = ? IF EXISTS")
    assert not compares("INSERT INTO feed (log) VALUES (?) USING TIMESTAMP ?")
    assert not compares("SELECT log FROM feed WHERE log = ?")
