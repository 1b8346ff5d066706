"""What a client of Kafka and of Cassandra is configured with beside their addresses: whom it trusts, and who it is."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, StringConstraints
from pydantic_settings import BaseSettings

from contract.errors import ConfigurationError

PREFIX = "LOOKALIKE_"

SaslMechanism = Literal["SCRAM-SHA-256", "SCRAM-SHA-512"]


def _one_or_three(nodes: int) -> int:
    """Two nodes would stand still as soon as one of them is away."""
    if nodes not in (1, 3):
        raise ValueError("name 1 or 3")
    return nodes


class ServerSettings(BaseSettings):
    """The settings of both servers' doors, and of their replicas. Passwords show nowhere but where they are asked for by name."""

    stack_nodes: Annotated[int, AfterValidator(_one_or_three)] = Field(
        1, description="Kafka brokers, and Cassandra nodes, that `stack` starts on this machine: 1 or 3."
    )
    kafka_replication: Annotated[int, Field(ge=0, le=100)] = Field(
        0,
        description="Replicas of each topic when it is created, of which more than half confirm a record; 0 leaves both to the brokers.",
    )
    cassandra_datacenter: Annotated[str, StringConstraints(pattern=r"^[^']*$")] = Field(
        "",
        description="Cassandra's data centre that all programs ask, and that holds the keyspace; empty is that of the nodes named.",
    )
    cassandra_replication: Annotated[int, Field(ge=1, le=100)] = Field(
        1, description="Replicas of each row in that data centre when the keyspace is created; 3 of a cluster."
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="How Kafka is spoken to: SSL is TLS, and SASL is with a user and a password."
    )
    kafka_ca_file: Path | None = Field(
        None, description="Certificates that sign those of Kafka's brokers, as PEM; empty is what the system trusts."
    )
    kafka_sasl_mechanism: SaslMechanism = Field("SCRAM-SHA-512", description="How Kafka checks the password.")
    kafka_user: str = Field("", description="User of Kafka.")
    kafka_password: SecretStr = Field(SecretStr(""), description="Password of that user; rather name a file.")
    kafka_password_file: Path | None = Field(None, description="File that holds the password instead.")
    cassandra_ca_file: Path | None = Field(
        None,
        description="Certificates that sign those of Cassandra's nodes, as PEM: then TLS is spoken; empty is no TLS.",
    )
    cassandra_user: str = Field("", description="Role of Cassandra; empty is none.")
    cassandra_password: SecretStr = Field(SecretStr(""), description="Password of that role; rather name a file.")
    cassandra_password_file: Path | None = Field(None, description="File that holds that password instead.")


def check_servers(settings: ServerSettings) -> None:
    """See that the settings of both doors fit together.

    Raises:
        ConfigurationError: they do not; the message names the variable.
    """
    _check_password("KAFKA", settings.kafka_user, settings.kafka_password, settings.kafka_password_file)
    _check_password("CASSANDRA", settings.cassandra_user, settings.cassandra_password, settings.cassandra_password_file)
    protocol = settings.kafka_security_protocol
    told = f"{PREFIX}KAFKA_SECURITY_PROTOCOL={protocol}"
    if protocol.startswith("SASL") and not settings.kafka_user:
        raise ConfigurationError(f"{PREFIX}KAFKA_USER is not set. {told} needs a user and its password.")
    if settings.kafka_user and not protocol.startswith("SASL"):
        raise ConfigurationError(
            f"{PREFIX}KAFKA_USER={settings.kafka_user} would not be told to Kafka with {told}. Set that to SASL_SSL."
        )
    if settings.kafka_ca_file and not protocol.endswith("SSL"):
        raise ConfigurationError(
            f"{PREFIX}KAFKA_CA_FILE={settings.kafka_ca_file} would not be used with {told}: nothing would be encrypted. "
            "Set that to SSL or SASL_SSL."
        )


def _check_password(server: str, user: str, password: SecretStr, file: Path | None) -> None:
    name = f"{PREFIX}{server}"
    if password.get_secret_value() and file:
        raise ConfigurationError(f"{name}_PASSWORD and {name}_PASSWORD_FILE are both set. Set one of them.")
    has_password = bool(password.get_secret_value() or file)
    if user and not has_password:
        raise ConfigurationError(f"{name}_PASSWORD_FILE is not set, and {name}_USER={user} needs a password.")
    if has_password and not user:
        raise ConfigurationError(f"{name}_USER is not set, and there is a password. Name its user.")
