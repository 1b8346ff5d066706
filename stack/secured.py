"""A secured stack: its certificates, its users and their passwords, in `var_dir`/secured, where only its owner reads.

Each program of ours has a user of its own, which may do what `stack/conf/kafka-acls` and `stack/conf/cassandra-roles.cql` say.
`owner` may do everything: it is the servers' own, and grants; no program has its password.
"""

import secrets
import shutil
import subprocess
from pathlib import Path

from contract.errors import ConfigurationError
from contract.settings import PREFIX, Settings, environment_of

OWNER = "owner"
USERS = ("admin", "api", "audit", "embedder", "indexer", "producer", "watcher")
SCRAM = "SCRAM-SHA-512"
_SERVERS = ("kafka", "cassandra")
_DAYS = 3650


def folder(settings: Settings) -> Path:
    """Where all of it lies."""
    return settings.var_dir.resolve() / "secured"


def password_of(settings: Settings, user: str) -> str:
    """A user's password."""
    return (folder(settings) / f"{user}.password").read_text()


def as_user(settings: Settings, user: str) -> Settings:
    """The settings with which a program comes to this stack's servers as one of its users; as they are where it is not secured."""
    if not settings.stack_secured:
        return settings
    made = folder(settings)
    return settings.model_copy(
        update={
            "kafka_security_protocol": "SASL_SSL",
            "kafka_sasl_mechanism": SCRAM,
            "kafka_ca_file": made / "ca.pem",
            "kafka_user": user,
            "kafka_password_file": made / f"{user}.password",
            "cassandra_ca_file": made / "ca.pem",
            "cassandra_user": user,
            "cassandra_password_file": made / f"{user}.password",
        }
    )


def check(settings: Settings) -> None:
    """See that servers which ask nobody are not come to with TLS or a password.

    Raises:
        ConfigurationError: they would be.
    """
    if settings.stack_secured:
        return
    for name in ("KAFKA_USER", "KAFKA_CA_FILE", "CASSANDRA_USER", "CASSANDRA_CA_FILE"):
        if getattr(settings, name.lower()):
            raise ConfigurationError(
                f"{PREFIX}{name} is set, but the servers that `stack` starts ask for nothing. Unset it, or set "
                f"{PREFIX}STACK_SECURED=true, or start the programs alone: `python -m stack up --only programs`."
            )


def make(settings: Settings) -> None:
    """Make what is not there; what is there stays, since the servers know it.

    Raises:
        ConfigurationError: there is no `openssl`, or it failed.
    """
    made = folder(settings)
    made.mkdir(parents=True, exist_ok=True, mode=0o700)
    made.chmod(0o700)
    for user in (OWNER, *USERS):
        if not (made / f"{user}.password").exists():
            write(made / f"{user}.password", secrets.token_urlsafe(24))
    for user in USERS:
        variables = environment_of(as_user(settings, user))
        lines = [f"{name}={variables[name]}\n" for name in _DOORS]
        write(made / f"{user}.env", "".join(lines))
    # Written last: where it is, the others are.
    if not (made / "ca.pem").exists():
        _make_certificates(made)


def write(file: Path, text: str) -> None:
    """Write a file that only its owner may read, whole."""
    fresh = file.with_suffix(f"{file.suffix}.new")
    fresh.touch(mode=0o600)
    fresh.write_text(text)
    fresh.replace(file)


def _make_certificates(made: Path) -> None:
    """One authority, and one certificate for each server of 127.0.0.1; the authority's key goes, so it signs no other."""
    authority, key = made / "ca.new", made / "ca.key"
    _openssl(
        *_new_key(key, "lookalike stack"), "-x509", "-days", str(_DAYS), "-out", str(authority),
        "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign",
    )  # fmt: skip
    for server in _SERVERS:
        own, certificate = made / f"{server}.key", made / f"{server}.crt"
        _openssl(
            *_new_key(own, server), "-x509", "-days", str(_DAYS), "-out", str(certificate),
            "-CA", str(authority), "-CAkey", str(key),
            "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE",
            "-addext", "extendedKeyUsage=serverAuth,clientAuth",
        )  # fmt: skip
        # Java's servers read key and chain from one file.
        write(made / f"{server}.pem", own.read_text() + certificate.read_text() + authority.read_text())
        own.unlink()
        certificate.unlink()
    key.unlink()
    authority.replace(made / "ca.pem")


def _new_key(file: Path, name: str) -> list[str]:
    """Options for a new key; openssl writes it so that only its owner reads it."""
    return [
        "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-keyout", str(file), "-subj", f"/CN={name}",
    ]  # fmt: skip


def _openssl(*arguments: str) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        raise ConfigurationError(
            f"{PREFIX}STACK_SECURED=true makes certificates with `openssl`, which is not on the PATH. Install OpenSSL 3."
        )
    done = subprocess.run(
        [openssl, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != 0:
        raise ConfigurationError(f"openssl could not make a certificate (OpenSSL 3 is needed):\n{done.stdout[-1000:]}")


_DOORS = tuple(
    f"{PREFIX}{name}"
    for name in (
        "KAFKA_BOOTSTRAP",
        "KAFKA_SECURITY_PROTOCOL",
        "KAFKA_SASL_MECHANISM",
        "KAFKA_CA_FILE",
        "KAFKA_USER",
        "KAFKA_PASSWORD_FILE",
        "CASSANDRA_HOSTS",
        "CASSANDRA_PORT",
        "CASSANDRA_CA_FILE",
        "CASSANDRA_USER",
        "CASSANDRA_PASSWORD_FILE",
    )
)
