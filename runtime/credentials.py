"""What a client of Kafka or Cassandra shows and whom it trusts, read from what the settings name. Passwords never show in a repr."""

import ssl
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import SecretStr

from contract.errors import ConfigurationError
from contract.servers import PREFIX, ServerSettings


@dataclass(frozen=True)
class Credentials:
    """A user and its password."""

    user: str
    password: SecretStr


def kafka_credentials(settings: ServerSettings) -> Credentials | None:
    """Who the settings say that we are to Kafka; None where it does not ask.

    Raises:
        ConfigurationError: the password cannot be read; the message names the variable, and never the password.
    """
    return _credentials("KAFKA", settings.kafka_user, settings.kafka_password, settings.kafka_password_file)


def cassandra_credentials(settings: ServerSettings) -> Credentials | None:
    """Who the settings say that we are to Cassandra; None where it does not ask.

    Raises: as `kafka_credentials`.
    """
    return _credentials(
        "CASSANDRA", settings.cassandra_user, settings.cassandra_password, settings.cassandra_password_file
    )


def kafka_tls(settings: ServerSettings) -> ssl.SSLContext | None:
    """What Kafka's certificates are checked with, its hosts' names too; None without TLS.

    Raises:
        ConfigurationError: the file cannot be used; the message names the variable.
    """
    if not settings.kafka_security_protocol.endswith("SSL"):
        return None
    return _tls("KAFKA", settings.kafka_ca_file)


def cassandra_tls(settings: ServerSettings) -> ssl.SSLContext | None:
    """The same for Cassandra, whose certificates must name the nodes' addresses: the driver knows no others.

    Raises: as `kafka_tls`.
    """
    return None if settings.cassandra_ca_file is None else _tls("CASSANDRA", settings.cassandra_ca_file)


def check_credentials(settings: ServerSettings) -> None:
    """Read all that the settings name, so that a process with a wrong one does not start.

    Raises:
        ConfigurationError: something cannot be read or used; the message names the variable.
    """
    kafka_credentials(settings)
    cassandra_credentials(settings)
    kafka_tls(settings)
    cassandra_tls(settings)


def _credentials(server: str, user: str, password: SecretStr, file: Path | None) -> Credentials | None:
    if not user:
        return None
    return Credentials(user, password if file is None else _password_in(file, f"{PREFIX}{server}_PASSWORD_FILE={file}"))


@cache
def _password_in(file: Path, told: str) -> SecretStr:
    """Read once, so that a process which runs does not depend on the file any more."""
    try:
        password = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigurationError(f"{told} cannot be read: {why}. It holds a password and nothing else.") from None
    if not password:
        raise ConfigurationError(f"{told} is empty. It holds a password and nothing else.")
    return SecretStr(password)


def _tls(server: str, file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=file)
    except (OSError, ValueError) as error:
        why = "it holds no certificate" if isinstance(error, ssl.SSLError) else error
        raise ConfigurationError(f"{PREFIX}{server}_CA_FILE={file} cannot be used: {why}.") from error
