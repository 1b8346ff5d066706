"""What 0.2.0 stored is upgraded in place: its keyspace takes new columns, and its index is built again while the old one answers."""

import shutil
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from cassandra.cluster import Cluster, Session

from contract.errors import ConfigurationError, NewerVersionError
from contract.record_key import RecordKey
from contract.settings import Settings
from gallery.generations.manifest import read_other_format
from gallery.generations.reader import Reader
from gallery.generations.writer import Writer
from gallery.store import schema
from gallery.store.store import Store
from model.encoder import load_encoder
from tests.conftest import fresh_settings
from tests.golden_0_2_0 import GOLDEN, expected, stored_rows
from workers.indexer import Indexer


@pytest.fixture(scope="module")
def of_0_2_0(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, Session]]:
    """Settings of a keyspace and an index folder as 0.2.0 left them, and a session with that keyspace."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    folder = tmp_path_factory.mktemp("upgraded")
    settings = fresh_settings(stack, folder, cassandra_keyspace=name, kafka_topic="images", kafka_partitions=2)
    shutil.copytree(GOLDEN / "index", settings.index_dir)
    cluster = Cluster([stack.cassandra_hosts], port=stack.cassandra_port, protocol_version=5)
    session = cluster.connect()
    replication = "{'class': 'SimpleStrategy', 'replication_factor': 1}"
    session.execute(f"CREATE KEYSPACE {name} WITH replication = {replication}")
    session.set_keyspace(name)
    text = (GOLDEN / "schema.cql").read_text()
    for statement in "\n".join(line for line in text.splitlines() if not line.startswith("--")).split(";"):
        if statement.strip():
            session.execute(statement)
    for table, row in stored_rows():
        session.execute(f"INSERT INTO {table} JSON %s", (row,))
    yield settings, session
    cluster.shutdown()


def test_gallery_of_0_2_0_answers_as_before_once_its_index_is_built_again(
    of_0_2_0: tuple[Settings, Session],
) -> None:
    settings, session = of_0_2_0
    folder, encoder = settings.encoder_index_dir, load_encoder(settings.encoder)
    before = read_other_format(folder)
    assert before is not None
    with closing(Store.connect(settings)) as store, ThreadPoolExecutor(2) as pool:
        assert [tuple(row) for row in session.execute("SELECT * FROM schema_versions")] == [
            (schema.SCHEMA_VERSION, schema.SCHEMA_OLDEST)
        ]
        with closing(Writer(folder, encoder.fingerprint, encoder.dimensions)) as writer:
            indexer = Indexer(
                settings, store.feed, writer, name="default", fingerprint=encoder.fingerprint,
                begin_anew=lambda: writer, logs_of=store.feed.logs, pool=pool, may_build=lambda: False,
            )  # fmt: skip
            steps = 0
            while read_other_format(folder) is not None:
                assert indexer.step(5), "what 0.2.0 covered is not covered"
                steps += 1
        assert steps > 1
    snapshot = Reader(folder, encoder.fingerprint).current()
    assert snapshot is not None and snapshot.manifest.covers(before)
    told = expected()
    assert snapshot.count == told["index"]["count"]
    assert snapshot.manifest.rejected == told["index"]["rejected"]
    for answer in told["answers"]:
        query = snapshot.find(answer["image_id"])
        assert query is not None
        found = snapshot.search(query.embedding, 60)
        assert [match.image_id for match in found] == [match["id"] for match in answer["matches"]]
        assert [match.distance for match in found] == pytest.approx([match["distance"] for match in answer["matches"]])


def test_program_that_is_too_old_for_the_schema_says_so_and_changes_nothing(
    of_0_2_0: tuple[Settings, Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, session = of_0_2_0
    Store.connect(settings).close()
    newest = schema.SCHEMA_VERSION + 5
    session.execute("INSERT INTO schema_versions (version, oldest) VALUES (%s, %s)", (newest - 1, 1))
    Store.connect(settings).close()  # of a newer version, which lets it work
    session.execute("INSERT INTO schema_versions (version, oldest) VALUES (%s, %s)", (newest, newest))
    with pytest.raises(ConfigurationError, match=rf"version {newest}, .* knows version {schema.SCHEMA_VERSION}\."):
        Store.connect(settings)
    monkeypatch.setattr(schema, "SCHEMA_VERSION", newest)
    Store.connect(settings).close()
    found = sorted(tuple(row) for row in session.execute("SELECT * FROM schema_versions"))
    assert found == [(schema.SCHEMA_VERSION - 5, 1), (newest - 1, 1), (newest, newest)]
    session.execute("TRUNCATE schema_versions")


def test_row_of_a_newer_version_holds_its_partition_and_no_other(of_0_2_0: tuple[Settings, Session]) -> None:
    settings, session = of_0_2_0
    encoder = load_encoder(settings.encoder).fingerprint
    with closing(Store.connect(settings)) as store:
        (log,) = store.feed.logs("images")
        place = RecordKey(log, 0, 0)
        key = f"log = '{log}' AND encoder = '{encoder}' AND kpart = 0 AND bucket = 0 AND koffset = 3"
        session.execute(f"UPDATE feed SET version = 9 WHERE {key}")
        try:
            assert [row.key.offset for row in store.feed.read(place, 100, fingerprint=encoder)] == [0, 1, 2]
            with pytest.raises(NewerVersionError, match=r"record 0:3 of .* is of version 9"):
                store.feed.read(place._replace(offset=3), 100, fingerprint=encoder)
            folder = settings.index_dir / "anew"
            with closing(Writer(folder, encoder)) as writer, ThreadPoolExecutor(2) as pool:
                own = settings.model_copy(update={"index_dir": folder.parent, "encoder": folder.name})
                indexer = Indexer(
                    own, store.feed, writer, name="default", fingerprint=encoder,
                    begin_anew=lambda: writer, logs_of=store.feed.logs, pool=pool, may_build=lambda: False,
                )  # fmt: skip
                while indexer.step():
                    pass
                others = expected()["index"]["coverage"]["offsets"]["1"]
                assert writer.manifest.offsets == {"0": 3, "1": others}
                session.execute(f"UPDATE feed SET version = 1 WHERE {key}")
                assert indexer.step()
                assert writer.manifest.offsets == expected()["index"]["coverage"]["offsets"]
        finally:
            session.execute(f"UPDATE feed SET version = 1 WHERE {key}")
