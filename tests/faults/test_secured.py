"""A secured stack: the whole pipeline under its least rights, what is not granted refused, and no secret told anywhere."""

import ssl
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import ACL, ACLOperation, ACLPermissionType, NewTopic, ResourcePattern, ResourceType
from kafka.errors import TopicAuthorizationFailedError
from pydantic import SecretStr

from contract.errors import DependencyError
from contract.settings import Settings
from gallery.store.session import CassandraSession
from stack import secured
from tests.api_gallery import digit
from tests.receiver import Receiver
from tests.secured_stack import HOOK_SECRETS, WRONG_PASSWORD, Running, granted, running_secured, says_something
from tests.waiting import wait_for
from topics.batch_publisher import BatchPublisher, Message
from topics.clients import access_options, open_admin
from topics.publisher import ImagePublisher
from topics.topic import Topic, ensure_topics

TABLES = (
    "collections",
    "distinct_images",
    "embedding_tables",
    "feed",
    "logs",
    "originals",
    "records",
    "schema_versions",
    "watch_images",
    "watch_progress",
    "watches",
)
READ = {
    "api": set(TABLES),
    "audit": set(TABLES),
    "embedder": {"collections", "feed", "logs", "records", "schema_versions"},
    "indexer": {"collections", "embedding_tables", "feed", "logs", "records", "schema_versions"},
    "watcher": set(TABLES),
}
WRITTEN: dict[str, set[str]] = {
    "api": {"distinct_images", "watch_images", "watches"},
    "audit": set(),
    "embedder": {"feed", "logs", "originals", "records"},
    "indexer": {"embedding_tables"},
    "watcher": {"watch_progress", "watches"},
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_secured(tmp_path_factory.mktemp("secured")) as made:
        yield made


def test_the_whole_pipeline_works_with_the_least_rights(running: Running) -> None:
    client = running.client
    with Receiver((500,)) as receiver:
        hook = receiver.address.replace("hook?x=1", f"{HOOK_SECRETS[0]}?t={HOOK_SECRETS[1]}")
        watch = client.watch(digit(0), max_distance=0.1, webhook=hook)
        running.secrets.add(watch.secret or "")
        with ImagePublisher(running.as_user("producer")) as publisher:
            sent = [publisher.put(digit(n), image_id=f"digit/{n}", metadata={"n": n}).result() for n in range(4)]
        with closing(BatchPublisher(running.as_user("producer"), running.settings.kafka_topic)) as publisher:
            publisher.publish([Message(key=b"broken", value=b"\x89PNG no picture", headers=[])])
        offsets = ",".join(one.min_offsets for one in {one.partition: one for one in sent}.values())
        (found,) = client.search(digit(2), k=1, min_offsets=offsets, wait_ms=5000).matches
        assert (found.id, found.distance, found.metadata) == ("digit/2", 0.0, {"n": 2})
        written = client.delete("digit/3")
        answer = client.search(digit(3), k=4, min_offsets=written.min_offsets, wait_ms=5000)
        assert "digit/3" not in [match.id for match in answer.matches]
        wait_for(lambda: client.rejected() or None)
        (told,) = receiver.wait(1, secret=watch.secret or "")
        assert told["image"] == "digit/0"
        assert client.original("digit/1") == digit(1)
    assert len(receiver.posts) > len(receiver.taken), "a failure was logged"


@pytest.mark.thorough
def test_what_is_not_granted_in_kafka_is_refused(running: Running) -> None:
    images = running.settings.kafka_topic

    def write(user: str, topic: str) -> None:
        with closing(BatchPublisher(running.as_user(user), topic)) as publisher:
            publisher.publish([Message(key=b"k", value=b"v", headers=[])])

    for user, topic in (
        ("producer", f"{images}.rejected"),
        ("producer", f"{images}.more"),
        ("embedder", images),
        ("watcher", images),
        ("audit", images),
        ("indexer", images),
        ("indexer", f"{images}.matches"),
        ("admin", "others"),
        ("api", "others"),
    ):
        assert "Authorization" in running.refused(DependencyError, lambda: write(user, topic))  # noqa: B023

    def read(user: str) -> int:
        """From how many partitions records come. Of one that it may not even describe, Kafka's client only says that it waits."""
        consumer = KafkaConsumer(
            bootstrap_servers=running.settings.kafka_bootstrap, group_id=None, **access_options(running.as_user(user))
        )
        with closing(consumer):
            places = [TopicPartition(images, partition) for partition in range(running.settings.kafka_partitions)]
            consumer.assign(places)
            for place in places:
                consumer.seek(place, 0)
            try:
                return len(consumer.poll(timeout_ms=1500))
            except TopicAuthorizationFailedError:
                return 0

    assert read("embedder") > 0
    assert [read(user) for user in ("producer", "watcher", "api", "indexer")] == [0] * 4

    for user in ("producer", "embedder", "watcher", "api", "admin"):
        with closing(open_admin(running.as_user(user))) as admin:
            running.refused(
                TopicAuthorizationFailedError,
                lambda: admin.create_topics([NewTopic("others", 1, 1)]),
            )
            if user != "admin":
                running.refused(TopicAuthorizationFailedError, lambda: admin.delete_topics([images]))
            everybody = ACL(
                f"User:{user}", "*", ACLOperation.ALL, ACLPermissionType.ALLOW, ResourcePattern(ResourceType.TOPIC, "*")
            )
            assert granted(admin, everybody) == [], user
    running.refused(DependencyError, lambda: ensure_topics(running.as_user("api")))
    with closing(Topic(running.as_user("indexer"))) as about:
        assert "29" in running.refused(DependencyError, about.check)


@pytest.mark.thorough
@pytest.mark.parametrize("user", WRITTEN)
def test_what_is_not_granted_in_cassandra_is_refused(running: Running, user: str) -> None:
    with closing(CassandraSession.connect(running.as_user(user))) as session:

        def ask(statement: str) -> None:
            with session.asked("asking") as driver:
                driver.execute(statement)

        for table in TABLES:
            asked = {
                f"SELECT * FROM {table} LIMIT 1": table in READ[user],
                f"{_deletion(session, table)}": table in WRITTEN[user],
                f"TRUNCATE {table}": table in WRITTEN[user],
                f"DROP TABLE {table}": False,
                f"ALTER TABLE {table} ADD more text": False,
            }
            for statement, is_granted in asked.items():
                if not is_granted:
                    assert "Unauthorized" in running.refused(DependencyError, lambda: ask(statement))  # noqa: B023
                elif not statement.startswith("TRUNCATE"):
                    ask(statement)
        if user == "indexer":  # it makes tables of embeddings
            ask("CREATE TABLE its_own (k int PRIMARY KEY)")
            ask("DROP TABLE its_own")
        else:
            assert "Unauthorized" in running.refused(
                DependencyError, lambda: ask("CREATE TABLE its_own (k int PRIMARY KEY)")
            )
        for statement in (
            "CREATE ROLE more WITH SUPERUSER = true",
            f"GRANT ALL PERMISSIONS ON ALL KEYSPACES TO {user}",
            "SELECT * FROM system_auth.roles",
            "DROP KEYSPACE lookalike",
        ):
            assert "Unauthorized" in running.refused(DependencyError, lambda: ask(statement))  # noqa: B023


def _deletion(session: CassandraSession, table: str) -> str:
    """Deletes a row that is not there."""
    with session.asked("describing") as driver:
        columns = driver.cluster.metadata.keyspaces["lookalike"].tables[table].partition_key
    values = {"text": "'none'", "int": "-1", "bigint": "-1"}
    return f"DELETE FROM {table} WHERE " + " AND ".join(f"{one.name} = {values[one.cql_type]}" for one in columns)


@pytest.mark.thorough
def test_nobody_comes_in_without_tls_user_or_password(running: Running, tmp_path: Path) -> None:
    settings = running.settings
    certificate = tmp_path / "other.pem"
    subprocess.run(
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=other "
        f"-out {certificate} -keyout {tmp_path / 'key.pem'}".split(),
        check=True, capture_output=True,
    )  # fmt: skip
    doors: dict[str, list[dict[str, object]]] = {
        "kafka": [
            {"security_protocol": "PLAINTEXT", "user": "", "password_file": None, "ca_file": None},
            {"security_protocol": "SSL", "user": "", "password_file": None},
            {"ca_file": certificate},
            {"password": SecretStr(WRONG_PASSWORD), "password_file": None},
        ],
        "cassandra": [
            {"ca_file": None},
            {"user": "", "password_file": None},
            {"ca_file": certificate},
            {"user": "producer"},
            {"password": SecretStr(WRONG_PASSWORD), "password_file": None},
            {"user": "cassandra", "password": SecretStr("cassandra"), "password_file": None},
        ],
    }
    come: dict[str, Callable[[Settings], object]] = {"kafka": open_admin, "cassandra": CassandraSession.connect}

    def try_to_come(server: str, changes: dict[str, object]) -> None:
        changed = running.as_user("api", **{f"{server}_{name}": value for name, value in changes.items()})
        told = running.refused(DependencyError, lambda: come[server](changed))
        assert server == "cassandra" or "LOOKALIKE_KAFKA_" in told

    with ThreadPoolExecutor() as pool:  # each waits for an answer that does not come
        tried = [pool.submit(try_to_come, server, changes) for server, ways in doors.items() for changes in ways]
    assert [each.result() for each in tried] == [None] * 10
    tls = ssl.create_default_context(cafile=secured.folder(settings) / "ca.pem")
    assert not says_something(settings.kafka_controller_port, tls)


@pytest.mark.thorough
def test_no_secret_is_told_anywhere(running: Running) -> None:
    settings, shut_out = running.settings, running.shut_out
    log_of_shut_out = settings.var_dir / "logs" / "shut-out.log"
    wait_for(lambda: log_of_shut_out.read_text().count("retrying") > 1 or None)
    assert shut_out.poll() is None, "it waits until it is let in"
    told = running.told()
    told["settings"] = f"{settings!r} {running.as_user('api', kafka_password=SecretStr(WRONG_PASSWORD))!r}"
    # What is looked through is what it should be.
    assert len(running.secrets) == len(secured.USERS) + 6 and min(map(len, running.secrets)) > 10
    assert len([place for place in told if place.startswith("command line")]) == 8 and len(running.errors) > 100
    names = {Path(place).stem for place in told if place.endswith(".log")}
    assert names >= {
        "kafka",
        "cassandra",
        "grants",
        "topics",
        "embedder",
        "indexer",
        "watcher",
        "audit",
        "api",
        "shut-out",
    }
    for name in ("embedder", "indexer", "watcher", "audit", "topics", "grants"):
        assert "uthoriz" not in told[str(settings.var_dir / "logs" / f"{name}.log")], "it has what it needs"
    assert "webhook failed" in told[str(settings.var_dir / "logs" / "watcher.log")]
    assert all(
        "lookalike_" in told[f"metrics of {name}"] for name in ("embedder", "indexer", "watcher", "audit", "api")
    )
    assert not [place for place, text in told.items() for secret in running.secrets if secret in text]


@pytest.mark.thorough
def test_stored_are_passwords_where_their_owner_reads_them_and_what_watches_need(running: Running) -> None:
    """Cassandra and Kafka keep salted hashes; a watch's address and secret are data, since webhooks are signed with it."""
    folder = secured.folder(running.settings)
    files = {user: folder / f"{user}.password" for user in (secured.OWNER, *secured.USERS)}
    passwords = {secured.password_of(running.settings, user).encode(): file for user, file in files.items()}
    of_watches = {secret.encode() for secret in running.secrets} - set(passwords) - {WRONG_PASSWORD.encode()}
    of_watches.remove(running.api_key.encode())
    found: set[tuple[bytes, Path]] = set()
    for file, content in running.stored():
        found |= {(secret, file) for secret in {*passwords, *of_watches} if secret in content}
        assert running.api_key.encode() not in content, file
    owners = secured.password_of(running.settings, secured.OWNER).encode()
    of_kafka = running.settings.var_dir / "kafka" / "kafka.properties"
    where_passwords_are = {(secret, file) for secret, file in found if secret in passwords}
    assert where_passwords_are == {*passwords.items(), (owners, of_kafka)}
    assert {file.stat().st_mode & 0o077 for _, file in where_passwords_are} == {0}
    in_data = {secret for secret, file in found if running.is_data(file)}
    assert in_data == of_watches and len(of_watches) == 3
