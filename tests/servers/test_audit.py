"""The audit on a real Kafka and Cassandra: it finds what somebody changed, and nothing else; `verify --repair` puts it back."""

import contextlib
import io
import json
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from prometheus_client import REGISTRY

from contract.settings import Settings
from gallery.generations.reader import Reader
from gallery.store.feed import FEED_BUCKET_BITS
from gallery.store.store import Store
from model.encoder import load_encoder
from stack.programs import environment
from tests.conftest import fresh_settings
from tests.embedding import Sent, make_topics, picture, publish
from tests.parts import Parts
from tests.waiting import wait_for
from workers.__main__ import main
from workers.audit import program, verifying
from workers.audit.comparing import Finding
from workers.audit.deriving import TopicPieces

PARTITIONS = 2


@dataclass
class Audited:
    """A gallery whose embedder and indexer run, and who looks at it."""

    settings: Settings
    store: Store
    log: str
    sent: dict[str, Sent]
    parts: Parts

    @property
    def fingerprint(self) -> str:
        return load_encoder(self.settings.encoder).fingerprint

    def covered(self, sent: list[Sent]) -> bool | None:
        snapshot = Reader(self.settings.encoder_index_dir, None).current()
        if snapshot is None:
            return None
        offsets = snapshot.manifest.offsets
        return all(offsets.get(str(each.partition), 0) > each.offset for each in sent) or None

    def place(self, name: str) -> tuple[str, str, int, int, int]:
        """The key of a record's row in the feed."""
        sent = self.sent[name]
        return self.log, self.fingerprint, sent.partition, sent.offset >> FEED_BUCKET_BITS, sent.offset

    def execute(self, statement: str, values: Any) -> None:
        self.store._session._driver.execute(statement, values)

    def finds(self, image_id: str) -> bool | None:
        """Whether the newest generation does."""
        self.parts.restart_what_ended()
        snapshot = Reader(self.settings.encoder_index_dir, None).current()
        return (snapshot is not None and snapshot.find(image_id) is not None) or None

    def round(self) -> dict[tuple[str, str, int, int], Finding]:
        """What the audit has found after a whole round."""
        audit = program.Audit(self.settings, self.store, threading.Event(), random.Random(1))
        try:
            audit.step()
            (audited,) = audit._collections.values()
            while not audited.rounds:
                audit.step()
            return audited.found
        finally:
            audit.close()

    def verify(self, *options: str) -> tuple[int, dict[str, Any]]:
        """Exit status and what was told, of `lookalike verify`."""
        told = io.StringIO()
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(told):
            for name, value in environment(self.settings).items():
                patch.setenv(name, value)
            status = main(["verify", "--json", *options])
        return status, json.loads(told.getvalue())


@pytest.fixture(scope="module")
def audited(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Audited]:
    folder = tmp_path_factory.mktemp("audit")
    settings = fresh_settings(
        stack,
        folder,
        var_dir=folder / "var",
        kafka_partitions=PARTITIONS,
        encoder="contrast",
        cassandra_keyspace=f"{stack.cassandra_keyspace}_audit",
    )
    log = make_topics(settings)
    store = Store.connect(settings)
    parts = Parts(settings, [])
    parts.start("embedder", "indexer")
    names = [f"id/{n}" for n in range(40)]
    records = [Sent(name.encode(), picture(n), (), n % PARTITIONS) for n, name in enumerate(names)]
    records[7] = Sent(b"id/7", np.random.default_rng(7).bytes(40), (), 1)  # is rejected
    records[8] = Sent(b"id/8", picture(8, size=300), (("metadata", b'{"a": 1}'),), 0)  # has chunks
    records += [Sent(b"id/20", picture(120), (), 0), Sent(b"id/21", None, (), 1), Sent(b"id/22", None, (), 1)]
    sent = publish(settings, records)
    found = Audited(settings, store, log, dict(zip(names, sent, strict=False)), parts)
    wait_for(lambda: found.covered(sent))
    yield found
    parts.stop()
    store.close()


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "SECOND_LOOK_S", 0.2)
    monkeypatch.setattr(program, "_ROUND_PAUSE_S", 0.0)


def test_what_somebody_changed_is_found_and_repaired(audited: Audited) -> None:
    where = "log = %s AND encoder = %s AND kpart = %s AND bucket = %s AND koffset = %s"
    audited.execute(f"DELETE FROM feed WHERE {where}", audited.place("id/3"))
    other = np.random.default_rng(3).standard_normal(load_encoder("contrast").dimensions).astype(">f4").tobytes()
    audited.execute(f"UPDATE feed SET embedding = %s WHERE {where}", (other, *audited.place("id/4")))
    audited.execute(f"UPDATE feed SET outcome = 'reject', reason = 'corrupt' WHERE {where}", audited.place("id/5"))
    log, _, partition, _, offset = audited.place("id/6")
    audited.execute(
        "DELETE FROM records WHERE log = %s AND kpart = %s AND bucket = %s AND koffset = %s",
        (log, partition, offset >> 9, offset),
    )
    log, _, partition, _, offset = audited.place("id/8")
    audited.execute("DELETE FROM originals WHERE log = %s AND kpart = %s AND koffset = %s", (log, partition, offset))
    _, end = _ends(audited)[0]
    audited.execute(
        "INSERT INTO feed (log, encoder, kpart, bucket, koffset, after, outcome, reason, image_id, embedding, kafka_time, metadata) "
        "VALUES (%s, %s, 0, %s, %s, %s, 'put', '', 'never sent', %s, 1700000000000, '')",
        (audited.log, audited.fingerprint, end >> FEED_BUCKET_BITS, end, end, other),
    )
    never_sent = Sent(b"never sent", None, (), 0, end)
    wait_for(lambda: audited.covered([never_sent]))

    expected = {
        ("feed", "missing", *audited.sent["id/3"][-2:]),
        ("feed", "different", *audited.sent["id/4"][-2:]),
        ("feed", "different", *audited.sent["id/5"][-2:]),
        ("records", "missing", *audited.sent["id/6"][-2:]),
        ("originals", "missing", *audited.sent["id/8"][-2:]),
        ("feed", "extra", 0, end),
        ("index", "extra", 0, end),
    }
    assert set(audited.round()) == expected
    for kind, count in (("missing", 3), ("different", 2), ("extra", 2)):
        assert REGISTRY.get_sample_value(f"lookalike_audit_{kind}", {"collection": "default"}) == count

    status, told = audited.verify("--repair")
    assert status == 1
    found = told["topic"]["found"]
    assert {(e["where"], e["kind"], e["key"]["partition"], e["key"]["offset"]) for e in found} == expected
    assert [each["where"] for each in found if not each["is_repaired"]] == ["index"]

    # The indexer that misses CURRENT ends, and its supervisor starts another one.
    wait_for(lambda: audited.finds("id/5") and not audited.finds("never sent"))
    assert audited.verify("--topic")[0] == 0
    assert audited.round() == {}


@pytest.mark.thorough
def test_what_the_index_alone_lacks_or_holds_is_found(audited: Audited) -> None:
    """The index is that of before; the feed is put back first, so only the index differs."""
    where = "log = %s AND encoder = %s AND kpart = %s AND bucket = %s AND koffset = %s"
    place = audited.place("id/9")
    audited.execute(f"UPDATE feed SET image_id = 'another' WHERE {where}", place)
    current = audited.settings.encoder_index_dir / "CURRENT"
    current.unlink()
    wait_for(lambda: audited.finds("another"))
    audited.execute(f"UPDATE feed SET image_id = 'id/9' WHERE {where}", place)
    assert {key[:2] for key in audited.round()} == {("index", "extra"), ("index", "missing")}
    assert audited.verify("--repair")[0] == 1
    wait_for(lambda: audited.finds("id/9"))
    assert audited.round() == {}


@pytest.mark.thorough
def test_nothing_is_found_while_images_come_are_replaced_and_deleted(audited: Audited) -> None:
    ended = threading.Event()
    chance = random.Random(2)

    def load() -> None:
        while not ended.is_set():
            publish(
                audited.settings,
                [
                    Sent(
                        b"load/%d" % chance.randrange(20),
                        None if chance.random() < 0.3 else picture(chance.randrange(1000)),
                        (),
                        chance.randrange(PARTITIONS),
                    )
                    for _ in range(10)
                ],
            )
            ended.wait(0.1)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        before = REGISTRY.get_sample_value("lookalike_audit_checked_total", {"collection": "default"}) or 0.0
        for _ in range(2):
            assert audited.round() == {}
    finally:
        ended.set()
        thread.join()
    checked = REGISTRY.get_sample_value("lookalike_audit_checked_total", {"collection": "default"})
    assert checked is not None and checked - before >= 2 * len(audited.sent)


def _ends(audited: Audited) -> dict[int, tuple[int, int]]:
    pieces = TopicPieces(audited.settings)
    try:
        return pieces.offsets()
    finally:
        pieces.close()
