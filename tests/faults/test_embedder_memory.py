"""Large pictures at once: none ends a process, and embedder and child stay below 1 GiB."""

from itertools import cycle, islice
from pathlib import Path

import pytest

from contract.record_key import RecordKey
from contract.settings import Settings
from gallery.store.store import Store
from tests.conftest import fresh_settings
from tests.embedding import Sent, make_topics, publish, running_embedder, wait_for_feed
from tests.large_pictures import large_pictures
from tests.peaks import watched

GIB = 1024**3
PARTITIONS = 4
PICTURES = 64


@pytest.mark.timeout(3600)
@pytest.mark.thorough
def test_64_large_pictures_at_once_are_embedded_within_a_gibibyte(stack: Settings, tmp_path: Path) -> None:
    settings = fresh_settings(stack, tmp_path, kafka_partitions=PARTITIONS)
    log, store = make_topics(settings), Store.connect(settings)
    values = list(islice(cycle(large_pictures().values()), PICTURES))
    records = [Sent(f"large/{n}".encode(), value, (), n % PARTITIONS) for n, value in enumerate(values)]
    sent = [record for at in range(0, PICTURES, 4) for record in publish(settings, records[at : at + 4])]
    with running_embedder(settings, tmp_path) as embedder, watched(embedder.process.pid) as peaks:
        rows = wait_for_feed(store, settings, log, sent, timeout_s=60 + 30 * PICTURES)
        assert embedder.process.poll() is None, "the embedder died"
        assert embedder.text().count("assigned") == 1
    assert {rows[record.partition, record.offset].outcome for record in sent} == {"put"}
    for record in sent[-3:]:
        assert store.records.read_original(RecordKey(log, record.partition, record.offset)) == record.value
    print({name: round(size / 1024**2) for name, size in peaks.items()}, "MiB")
    assert peaks["together"] < GIB, peaks
    store.close()
