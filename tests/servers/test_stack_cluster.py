"""A cluster as `up --nodes 3` starts it: one broker and one node may die, and nothing is lost or stands still."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.collections import publishing_settings
from contract.settings import DIGITS_ENCODER, PREFIX, Settings, load_settings
from lookalike_client import ApiError, Client
from model import mnist
from stack import groups
from stack.jars import ROOT
from stack.ports import own_ports
from stack.process import is_alive
from stack.programs import environment
from tests.conftest import COMPILED_DIR
from tests.waiting import wait_for
from topics.publisher import ImagePublisher

SERVERS = {f"{kind}-{number}" for kind in ("kafka", "cassandra") for number in (1, 2, 3)}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Settings]:
    """Settings of a stack that does not run yet, and is stopped in the end."""
    settings = load_settings(
        **own_ports(),
        cassandra_keyspace=f"test_{uuid.uuid4().hex[:12]}",
        var_dir=tmp_path / "var",
        compiled_dir=COMPILED_DIR,
        encoder=DIGITS_ENCODER,
        audit_share=0.0,
        kafka_partitions=2,
    )
    yield settings
    for group in reversed(groups.GROUPS):
        groups.down(settings, group)


def stack(settings: Settings, *words: str) -> str:
    """What `python -m stack` prints, told what the settings name and nothing that follows from it."""
    names = {f"{PREFIX}{name.upper()}" for name in settings.model_fields_set}
    told = {name: value for name, value in environment(settings).items() if name in names}
    done = subprocess.run(
        [sys.executable, "-m", "stack", *words],
        cwd=ROOT,
        env={**os.environ, **told},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.thorough
@pytest.mark.clusters
@pytest.mark.timeout(900)
def test_a_cluster_takes_and_finds_images_while_one_broker_and_one_node_are_killed(cluster: Settings) -> None:
    stack(cluster, "up", "--nodes", "3")
    processes = {
        process["name"]: process
        for group in json.loads(stack(cluster, "status", "--json"))["groups"]
        for process in group["processes"]
    }
    assert processes.keys() >= SERVERS | {"embedder", "indexer", "watcher", "api"}
    assert all(is_alive(process["pid"], process["started_at"]) for process in processes.values() if process["pid"])

    clients = load_settings(**{**cluster.model_dump(), "stack_nodes": 3})  # they come to whichever node is there
    Client(clients.api_address).create_collection("vast", encoder=DIGITS_ENCODER, engine="cassandra")
    collections = ("default", "vast")
    pictures = [mnist.png(image) for image in mnist.images("test")[:20]]
    for name in collections:
        publish(clients, name, pictures[:10], "before")
        found(clients, name, pictures[0], "before/0")
    for server in ("kafka-1", "cassandra-1"):
        os.kill(processes[server]["pid"], signal.SIGKILL)
    for name in collections:
        publish(clients, name, pictures[10:], "meanwhile")
        found(clients, name, pictures[19], "meanwhile/9")
        found(clients, name, pictures[1], "before/1")

    stack(cluster, "down")
    wait_for(lambda: not any(is_alive(each["pid"], each["started_at"]) for each in processes.values()) or None)


def publish(settings: Settings, collection: str, pictures: list[bytes], prefix: str) -> None:
    """Publish pictures to a collection, and return when Kafka has confirmed all of them."""
    with ImagePublisher(publishing_settings(settings, collection)) as publisher:
        for number, picture in enumerate(pictures):
            publisher.put(picture, image_id=f"{prefix}/{number}")


def found(settings: Settings, collection: str, picture: bytes, image_id: str) -> None:
    """Wait until a picture finds itself."""
    client = Client(settings.api_address, collection=collection)

    def ask() -> bool | None:
        with contextlib.suppress(ApiError):
            return any(match.id == image_id for match in client.search(picture, k=1).matches) or None
        return None

    wait_for(ask, timeout_s=90)
