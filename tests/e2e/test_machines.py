"""Two machines on a real Kafka and Cassandra: an indexer and an API each, with index folders of their own, from one feed."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.settings import Settings
from lookalike_client import Client
from stack import programs
from stack.ports import free_ports
from stack.process import start_child
from tests.api_gallery import digit
from tests.waiting import wait_for

DIGITS = 120
BATCH = 100
DIMENSIONS = 128  # of the digits' encoder


@pytest.fixture
def there(running: Settings, tmp_path: Path) -> Iterator[Settings]:
    """The other machine. It merges seldom, so that its files differ from those of `running`, which does all the time."""
    port = free_ports(1)[0]
    changes = {"var_dir": tmp_path, "index_dir": tmp_path / "index", "api_port": port, "rebuild_interval_s": 3600.0}
    settings = running.model_copy(update=changes | {"otlp_endpoint": ""})
    with contextlib.ExitStack() as children:
        for service in (programs.indexer(settings), programs.api(settings)):
            children.callback(start_child(service).stop, 10.0)
        wait_for(lambda: programs.answers_ready(settings.api_address) or None, timeout_s=120)
        yield settings


@pytest.mark.parametrize("searches", [300, pytest.param(10_000, marks=pytest.mark.thorough)])
def test_at_equal_coverage_two_machines_have_one_content_digest_and_the_same_answers(
    running: Settings, there: Settings, searches: int
) -> None:
    clients = [Client(settings.api_address) for settings in (running, there)]
    written = [clients[0].publish(digit(n), image_id=f"machines/{n}", metadata={"n": n % 7}) for n in range(DIGITS)]
    written += [clients[1].delete(f"machines/{n}") for n in range(0, DIGITS, 11)]
    written += [clients[1].publish(digit(n + 1), image_id=f"machines/{n}") for n in range(5, DIGITS, 17)]
    wanted: dict[int, int] = {}
    for one in written:
        wanted[one.partition] = max(wanted.get(one.partition, 0), one.offset + 1)
    min_offsets = ",".join(f"{partition}:{offset}" for partition, offset in wanted.items())

    def equal() -> list[dict[str, Any]] | None:
        found = [client.index()["coverage"] for client in clients]
        return found if found[0]["offsets"] == found[1]["offsets"] else None

    for client in clients:
        client.search_id("machines/1", min_offsets=min_offsets, wait_ms=30_000)
    here, other = wait_for(equal)
    assert here["content_digest"] == other["content_digest"] and here["count"] == other["count"]
    assert here["index_id"] != other["index_id"], "or it is one machine"
    chance = np.random.default_rng(searches)
    for _ in range(0, searches, BATCH):
        queries = chance.standard_normal((BATCH, DIMENSIONS)).tolist()
        k = int(chance.integers(1, 20))
        narrowed = (
            {"must": [{"key": "n", "range": {"gte": int(chance.integers(0, 6))}}]} if chance.random() < 0.3 else None
        )
        answers = [client.search_batch(queries, k=k, filter=narrowed) for client in clients]
        assert answers[0].raw["answers"] == answers[1].raw["answers"]
        assert answers[0].coverage.content_digest == answers[1].coverage.content_digest == here["content_digest"]
