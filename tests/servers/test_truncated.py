"""A picture that lacks its end: taken where that is allowed, and then its record says so, from Cassandra to the answer."""

import uuid
from pathlib import Path

import httpx
from cassandra.cluster import Cluster

from contract.record_key import RecordKey
from contract.settings import Settings
from gallery.store.rows import FeedRow, ImageRecord
from gallery.store.store import Store
from tests.api_gallery import Gallery, running_api
from tests.conftest import fresh_settings
from tests.embedding import Sent, make_topics, publish, running_embedder, wait_for_feed
from tests.unit.test_images import FILES
from tests.waiting import wait_for

WHOLE = FILES["JPEG"]
CUT = WHOLE[: len(WHOLE) * 3 // 4]


def embedded(settings: Settings, folder: Path) -> tuple[str, list[FeedRow]]:
    """The log, and the rows of a whole picture and one without its end after a real embedder has come to them."""
    log = make_topics(settings)
    store = Store.connect(settings)
    with running_embedder(settings, folder):
        sent = publish(settings, [Sent(b"whole", WHOLE), Sent(b"cut", CUT)])
        rows = wait_for_feed(store, settings, log, sent)
    store.close()
    return log, [rows[each.partition, each.offset] for each in sent]


def test_a_jpeg_without_its_end_is_embedded_stored_and_answered_as_truncated(stack: Settings, tmp_path: Path) -> None:
    settings = fresh_settings(stack, tmp_path, kafka_partitions=1, accept_truncated=True)
    log, rows = embedded(settings, tmp_path)
    assert [row.outcome for row in rows] == ["put", "put"]
    store = Store.connect(settings)
    keys = [row.key for row in rows]
    found = store.records.read(keys)
    assert [found[key].is_truncated for key in keys] == [False, True]
    assert (found[keys[1]].width, found[keys[1]].height) == (found[keys[0]].width, found[keys[0]].height)
    assert store.records.read_original(keys[1]) == CUT
    store.close()
    Gallery(settings, log).take(rows)
    with running_api(settings) as address, httpx.Client(base_url=address, timeout=30) as client:
        wait_for(lambda: client.get("/readyz").json()["dependencies"]["cassandra"] or None)
        matches = client.post("/v1/search", content=CUT).json()["matches"]
        assert {match["id"]: match["truncated"] for match in matches} == {"whole": False, "cut": True}
        assert (matches[0]["id"], matches[0]["distance"]) == ("cut", 0)
        assert client.get("/v1/images?id=cut").json()["truncated"] is True
        assert client.get("/v1/images?id=whole").json()["truncated"] is False


def test_a_jpeg_without_its_end_is_refused_where_that_is_asked_for(stack: Settings, tmp_path: Path) -> None:
    settings = fresh_settings(stack, tmp_path, kafka_partitions=1, encoder="photo", accept_truncated=False)
    _, rows = embedded(settings, tmp_path)
    assert [(row.outcome, row.reason) for row in rows] == [("put", ""), ("reject", "truncated")]


def test_a_table_of_before_there_was_the_column_gets_it_and_keeps_its_rows(stack: Settings) -> None:
    keyspace = f"before_{uuid.uuid4().hex[:12]}"
    old = (
        Path("gallery/store/schema.cql")
        .read_text()
        .partition("CREATE TABLE IF NOT EXISTS records")[2]
        .partition(";")[0]
    )
    cluster = Cluster(stack.cassandra_hosts.split(","), port=stack.cassandra_port)
    session = cluster.connect()
    session.execute(
        f"CREATE KEYSPACE {keyspace} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}"
    )
    session.set_keyspace(keyspace)
    session.execute("CREATE TABLE records" + old.replace("    truncated boolean,\n", ""))
    session.execute("INSERT INTO records (log, kpart, bucket, koffset, image_id) VALUES ('l', 0, 0, 1, 'old')")
    cluster.shutdown()

    store = Store.connect(stack.model_copy(update={"cassandra_keyspace": keyspace}))
    new = ImageRecord(RecordKey("l", 0, 2), "new", "image/png", 1, 1, 1, b"", b"", "", b"", b"", 5, True)
    store.records.write([new])
    found = store.records.read([RecordKey("l", 0, 1), RecordKey("l", 0, 2)])
    assert {record.image_id: record.is_truncated for record in found.values()} == {"old": False, "new": True}
    store.close()
