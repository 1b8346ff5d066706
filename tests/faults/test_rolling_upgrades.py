"""The programs are upgraded one after another, in any order, while clients send and ask: nothing is lost, doubled or refused."""

import itertools
import uuid
from pathlib import Path

import pytest

from contract.settings import Settings
from gallery.generations.manifest import read_other_format
from tests.conftest import SEED, fresh_settings
from tests.rolling import Rolling
from tests.verified import verified_ids
from topics.topic import ensure_topics

ORDERS = list(itertools.permutations(("embedder", "indexer", "api")))


def _started(stack: Settings, folder: Path) -> Rolling:
    name = f"test_{uuid.uuid4().hex[:12]}"
    settings = fresh_settings(
        stack, folder, cassandra_keyspace=name, kafka_partitions=2, var_dir=folder / "var", rebuild_interval_s=2
    )
    return Rolling(settings, folder, SEED)


def _upgrade(rolling: Rolling, order: tuple[str, ...]) -> None:
    """In this order; an API takes the place of the second one only when the first is ready, which it is with the new index."""
    is_indexed = is_replaced = False
    for part in order:
        if part != "api":
            rolling.upgrade(part)
            is_indexed |= part == "indexer"
        else:
            rolling.upgrade(rolling.first)
            is_replaced = True
        if is_indexed and is_replaced:
            rolling.parts.wait_ready(rolling.first)
            rolling.upgrade(rolling.second)
            rolling.parts.wait_ready(rolling.second)
            is_replaced = False


def _judged(stack: Settings, folder: Path, order: tuple[str, ...]) -> None:
    rolling = _started(stack, folder)
    try:
        rolling.start(60)

        def upgrade() -> None:
            ensure_topics(rolling.settings)
            _upgrade(rolling, order)
            rolling.wait_covered()

        rolling.meanwhile(upgrade, "client")
        judgement = rolling.end()
    finally:
        rolling.close()
    print(order, judgement, f"{rolling.unanswered} of {rolling.questions} not answered")
    assert judgement.findings == []
    assert judgement.records > 60 and judgement.answers > 20
    assert rolling.unanswered == 0


@pytest.mark.timeout(300)
def test_embedder_and_indexer_of_0_2_0_are_upgraded_and_every_record_is_indexed_once(
    stack: Settings, tmp_path: Path
) -> None:
    """Either of them first, by the seed."""
    rolling = _started(stack, tmp_path)
    names = ["embedder", "indexer"]
    try:
        rolling.parts.start(*names)
        rolling.send(40)
        rolling.wait_indexed()
        assert read_other_format(rolling.settings.encoder_index_dir) is not None
        for name in names if SEED % 2 else reversed(names):
            rolling.upgrade(name)
            rolling.send(20)
            rolling.wait_indexed()
        assert read_other_format(rolling.settings.encoder_index_dir) is None
    finally:
        rolling.close()
    assert len(verified_ids(rolling.settings)) > 10


@pytest.mark.thorough
@pytest.mark.timeout(300)
@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_upgrade_in_any_order_loses_nothing(stack: Settings, tmp_path: Path, order: tuple[str, ...]) -> None:
    _judged(stack, tmp_path, order)


@pytest.mark.thorough
@pytest.mark.timeout(300)
def test_going_back_to_0_2_0_loses_nothing(stack: Settings, tmp_path: Path) -> None:
    """Answers are older for a moment, while 0.2.0 builds its index again; clients wait for that."""
    rolling = _started(stack, tmp_path)
    try:
        rolling.start(60)
        ensure_topics(rolling.settings)
        rolling.meanwhile(lambda: _upgrade(rolling, ("indexer", "embedder", "api")), "client")
        rolling.send(20)
        rolling.wait_covered()
        for name in ("embedder", "indexer", *rolling.parts.apis):
            rolling.downgrade(name)
        rolling.send(20)
        rolling.parts.wait_ready(*rolling.parts.apis)
        rolling.wait_covered()
        rolling.meanwhile(lambda: rolling.send(20), "client of 0.2.0")
        judgement = rolling.end()
    finally:
        rolling.close()
    print(judgement)
    assert judgement.findings == []
