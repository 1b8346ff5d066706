"""How Kafka and Cassandra are spoken to: contradictions are refused, secrets never show, and the docs say what is granted."""

import re
import subprocess
from pathlib import Path

import pytest

from contract.errors import ConfigurationError
from contract.settings import Settings, environment_of, load_settings
from gallery.store.schema import is_there, schema_statements
from runtime.credentials import cassandra_credentials, cassandra_tls, check_credentials, kafka_credentials, kafka_tls
from stack import secured
from stack.cassandra import cassandra
from stack.grants import acl_lines, role_statements
from stack.kafka import kafka
from stack.programs import embedder, grants, topics
from topics.clients import access_options, connect
from workers.embedder.faust_app import faust_credentials

DOCS = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
SECRET = "s3cret-of-mine"
SASL = {"kafka_security_protocol": "SASL_SSL", "kafka_user": "me", "kafka_password": SECRET}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"kafka_security_protocol": "SASL_SSL"}, "LOOKALIKE_KAFKA_USER is not set"),
        ({"kafka_security_protocol": "SASL_SSL", "kafka_user": "me"}, "LOOKALIKE_KAFKA_PASSWORD_FILE is not set"),
        ({"kafka_user": "me", "kafka_password": SECRET}, "LOOKALIKE_KAFKA_SECURITY_PROTOCOL=PLAINTEXT"),
        ({"kafka_ca_file": "ca.pem"}, "LOOKALIKE_KAFKA_CA_FILE=ca.pem would not be used"),
        (SASL | {"kafka_password_file": "file"}, "LOOKALIKE_KAFKA_PASSWORD_FILE are both set"),
        ({"kafka_password": SECRET}, "LOOKALIKE_KAFKA_USER is not set"),
        (SASL | {"kafka_security_protocol": "TLS"}, "LOOKALIKE_KAFKA_SECURITY_PROTOCOL='TLS'"),
        (SASL | {"kafka_sasl_mechanism": "PLAIN"}, "LOOKALIKE_KAFKA_SASL_MECHANISM='PLAIN'"),
        (SASL | {"kafka_password": [SECRET]}, r"LOOKALIKE_KAFKA_PASSWORD=\*\*\*"),
        ({"cassandra_user": "me"}, "LOOKALIKE_CASSANDRA_PASSWORD_FILE is not set"),
        ({"cassandra_password_file": "file"}, "LOOKALIKE_CASSANDRA_USER is not set"),
    ],
)
def test_what_does_not_fit_together_names_its_variable_and_no_secret(given: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told) as refused:
        load_settings(**given)
    assert SECRET not in f"{refused.value}{refused.value!r}"


def test_a_password_shows_only_where_it_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n")
    by_file = load_settings(cassandra_user="me", cassandra_password_file=file)
    by_value = load_settings(**SASL, cassandra_user="me", cassandra_password=SECRET)
    shown = [kafka_credentials(by_value), cassandra_credentials(by_value), cassandra_credentials(by_file)]
    for each in (by_file, by_value, *shown):
        assert SECRET not in f"{each} {each!r}"
    assert SECRET not in by_value.model_dump_json()
    assert [each and each.password.get_secret_value() for each in shown] == [SECRET] * 3
    assert environment_of(by_value)["LOOKALIKE_KAFKA_PASSWORD"] == SECRET
    assert SECRET not in str(environment_of(by_file))
    assert kafka_credentials(by_file) is None


@pytest.mark.parametrize("server", ["kafka", "cassandra"])
def test_a_file_that_cannot_be_used_names_its_variable(tmp_path: Path, server: str) -> None:
    given: dict[str, object] = {**SASL, "cassandra_user": "me", "cassandra_password": SECRET}
    for content, told in ((None, "No such file"), (b"", "is empty"), (b"\xff", "not UTF-8")):
        file = tmp_path / f"{told}.password"
        if content is not None:
            file.write_bytes(content)
        wrong = load_settings(**given | {f"{server}_password": "", f"{server}_password_file": file})
        with pytest.raises(ConfigurationError, match=f"LOOKALIKE_{server.upper()}_PASSWORD_FILE=.*{told}"):
            check_credentials(wrong)
    for name, content, told in (("none", None, "No such file"), ("text", b"text", "holds no certificate")):
        file = tmp_path / name
        if content is not None:
            file.write_bytes(content)
        wrong = load_settings(**given | {f"{server}_ca_file": file})
        with pytest.raises(ConfigurationError, match=f"LOOKALIKE_{server.upper()}_CA_FILE=.*{told}"):
            check_credentials(wrong)


def test_a_password_is_read_once(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(SECRET)
    settings = load_settings(cassandra_user="me", cassandra_password_file=file)
    check_credentials(settings)
    file.unlink()
    check_credentials(settings)


def test_every_client_of_kafka_is_told_the_same() -> None:
    opened = {protocol: load_settings(kafka_security_protocol=protocol) for protocol in ("PLAINTEXT", "SSL")}
    opened |= {
        protocol: load_settings(**SASL | {"kafka_security_protocol": protocol})
        for protocol in ("SASL_PLAINTEXT", "SASL_SSL")
    }
    for protocol, settings in opened.items():
        options, faust = access_options(settings), faust_credentials(settings)
        assert options["security_protocol"] == protocol
        assert (faust.protocol.value if faust else "PLAINTEXT") == protocol
        tls = options["ssl_context"]
        assert (tls is not None) == protocol.endswith("SSL")
        assert tls is None or (tls.check_hostname and tls.verify_mode.name == "CERT_REQUIRED")  # type: ignore[attr-defined]
        assert ("sasl_plain_password" in options) == protocol.startswith("SASL")
        assert SECRET not in repr(faust)
    assert cassandra_tls(load_settings()) is None
    assert kafka_tls(load_settings()) is None


def test_what_is_there_of_the_schema_is_not_made_again() -> None:
    class Table:
        def __init__(self, *columns: str) -> None:
            self.columns = dict.fromkeys(columns)

    class Keyspace:
        def __init__(self, without: str = "") -> None:
            self.tables = {name: Table(*columns) for name in made if name != without}
            self.indexes = {} if without == "feed_image_id" else {"feed_image_id": None}

    text = "\n".join(schema_statements())
    made = re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", text)
    columns = re.findall(r"ADD IF NOT EXISTS (\w+)", text)
    assert len(made) > 8 and columns

    def missing(keyspace: Keyspace | None) -> list[str]:
        return [statement for statement in schema_statements() if not is_there(statement, keyspace)]

    assert missing(None) == schema_statements()
    assert missing(Keyspace()) == []
    (index,) = missing(Keyspace("feed_image_id"))
    assert "CREATE INDEX" in index
    (table,) = missing(Keyspace("watches"))
    assert "CREATE TABLE IF NOT EXISTS watches" in table
    older = Keyspace()
    older.tables["records"] = Table()
    (column,) = missing(older)
    assert "ALTER TABLE records ADD" in column


@pytest.fixture(scope="module")
def stack_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = load_settings(stack_secured=True, var_dir=tmp_path_factory.mktemp("secured"))
    secured.make(settings)
    return settings


def test_a_secured_stack_keeps_its_secrets_to_itself(stack_settings: Settings) -> None:
    made = secured.folder(stack_settings)
    assert made.stat().st_mode & 0o777 == 0o700
    files = sorted(made.iterdir())
    assert not {file.suffix for file in files} - {".pem", ".password", ".env"}
    assert all(file.stat().st_mode & 0o077 == 0 for file in files if file.name != "ca.pem")
    passwords = {file.read_text() for file in files if file.suffix == ".password"}
    assert len(passwords) == len(secured.USERS) + 1 and min(map(len, passwords)) >= 32
    before = {file: file.read_text() for file in files}
    secured.make(stack_settings)
    assert {file: file.read_text() for file in sorted(made.iterdir())} == before
    for server in ("kafka", "cassandra"):
        told = subprocess.run(
            ["openssl", "verify", "-CAfile", made / "ca.pem", "-verify_ip", "127.0.0.1", made / f"{server}.pem"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert told.returncode == 0, told.stdout + told.stderr


def test_each_program_of_a_secured_stack_comes_as_itself(stack_settings: Settings) -> None:
    for service, user in ((embedder(stack_settings), "embedder"), (topics(stack_settings), "admin")):
        assert service.environment["LOOKALIKE_KAFKA_USER"] == service.environment["LOOKALIKE_CASSANDRA_USER"] == user
        assert not any(secured.password_of(stack_settings, each) in str(service) for each in secured.USERS)
    assert grants(stack_settings).environment["LOOKALIKE_KAFKA_USER"] == ""
    assert embedder(load_settings()).environment["LOOKALIKE_KAFKA_SECURITY_PROTOCOL"] == "PLAINTEXT"
    assert "LOOKALIKE_CASSANDRA_JMX_PORT" not in cassandra(stack_settings).ports


def test_servers_that_ask_nobody_are_not_come_to_with_a_password() -> None:
    with pytest.raises(ConfigurationError, match=r"LOOKALIKE_KAFKA_USER is set.*LOOKALIKE_STACK_SECURED=true"):
        kafka(load_settings(**SASL))
    with pytest.raises(ConfigurationError, match="LOOKALIKE_CASSANDRA_CA_FILE is set"):
        kafka(load_settings(cassandra_ca_file="ca.pem"))
    kafka(load_settings(**SASL, stack_secured=True))


def test_the_docs_grant_what_a_secured_stack_grants(stack_settings: Settings) -> None:
    users = re.findall(r"^user (\w+)$", DOCS, re.MULTILINE)
    assert sorted(users) == sorted(secured.USERS)
    assert re.findall(r"^may (\w+ .*)$", DOCS, re.MULTILINE) == acl_lines(stack_settings)
    block = re.search(r"^```sql\n(.*?)^```", DOCS, re.MULTILINE | re.DOTALL)
    assert block is not None
    told = [re.sub(r"PASSWORD = '.*'", "PASSWORD = '…'", statement) for statement in role_statements(stack_settings)]
    assert block[1].splitlines() == told


def test_a_refused_client_is_told_what_to_look_at() -> None:
    from kafka import KafkaAdminClient

    from contract.errors import DependencyError

    away = {"kafka_bootstrap": "127.0.0.1:9"}
    with pytest.raises(DependencyError, match="set LOOKALIKE_KAFKA_SECURITY_PROTOCOL"):
        connect(KafkaAdminClient, load_settings(**away), connect_timeout_s=0.2)
    with pytest.raises(DependencyError, match=r"LOOKALIKE_KAFKA_CA_FILE.*LOOKALIKE_KAFKA_USER=me") as refused:
        connect(KafkaAdminClient, load_settings(**SASL | away), connect_timeout_s=0.2)
    assert SECRET not in str(refused.value)
