"""Kafka clients that give up in time, and leave no thread and no socket behind when they do."""

from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer
from kafka.errors import KafkaError, KafkaTimeoutError
from kafka.net.compat import KafkaNetClient

from contract.errors import DependencyError
from contract.settings import PREFIX, Settings
from runtime.credentials import kafka_credentials, kafka_tls
from topics.silence import open_impatient_network

# Long enough for a broker that is busy with a first start, short enough for a person who waits at a prompt.
CONNECT_TIMEOUT_S = 4.0
REQUEST_TIMEOUT_S = 10.0


def access_options(settings: Settings) -> dict[str, object]:
    """What kafka-python takes of how the settings have Kafka spoken to.

    Raises:
        ConfigurationError: a file that they name cannot be used.
    """
    options: dict[str, object] = {
        "security_protocol": settings.kafka_security_protocol,
        "ssl_context": kafka_tls(settings),
    }
    if shown := kafka_credentials(settings):
        options |= {
            "sasl_mechanism": settings.kafka_sasl_mechanism,
            "sasl_plain_username": shown.user,
            "sasl_plain_password": shown.password.get_secret_value(),
        }
    return options


def connect(kind: type[Any], settings: Settings, *, connect_timeout_s: float, **options: object) -> tuple[Any, Any]:
    """Open a `KafkaProducer`, a `KafkaConsumer` or a `KafkaAdminClient`.

    Returns:
        The client, and its view of the cluster (`kafka.cluster.ClusterMetadata`).

    Raises:
        ConfigurationError: as `access_options`.
        DependencyError: no broker answered within `connect_timeout_s`, or none took the user.
    """
    network: list[KafkaNetClient] = []

    has_others = "," in settings.kafka_bootstrap

    def open_network(**configs: object) -> KafkaNetClient:
        network.append(open_impatient_network(**configs) if has_others else KafkaNetClient(**configs))
        return network[0]

    try:
        client = kind(
            bootstrap_servers=settings.kafka_bootstrap.split(","),
            bootstrap_timeout_ms=round(connect_timeout_s * 1000),
            reconnect_backoff_max_ms=1000,
            kafka_client=open_network,
            **access_options(settings),
            **options,
        )
    except (KafkaError, OSError) as error:
        # A client that fails in its constructor does not close its network thread and sockets itself.
        for opened in network:
            opened.close()
        raise DependencyError(
            "kafka",
            f"No broker at {settings.kafka_bootstrap} answered within {connect_timeout_s:g} s ({error}). "
            f"Start one with `make up`, or set {PREFIX}KAFKA_BOOTSTRAP.{_doubts(settings)}",
        ) from error
    return client, network[0].cluster


def _doubts(settings: Settings) -> str:
    """What else may be wrong where Kafka is not spoken to in the open: a refused client hears nothing more than that."""
    protocol = settings.kafka_security_protocol
    if protocol == "PLAINTEXT":
        return f" If it asks for TLS or a password, set {PREFIX}KAFKA_SECURITY_PROTOCOL."
    user = (
        f", and whether it knows {PREFIX}KAFKA_USER={settings.kafka_user} with this password"
        if settings.kafka_user
        else ""
    )
    tls = f", and whether {PREFIX}KAFKA_CA_FILE signs its certificate" if protocol.endswith("SSL") else ""
    return f" See whether it speaks {protocol} there{tls}{user}."


def open_admin(settings: Settings) -> KafkaAdminClient:
    """An admin client that is bounded in time; the caller closes it.

    Raises:
        DependencyError: no broker answers.
    """
    admin, _ = connect(
        KafkaAdminClient,
        settings,
        connect_timeout_s=CONNECT_TIMEOUT_S,
        client_id="lookalike-topics",
        request_timeout_ms=round(REQUEST_TIMEOUT_S * 1000),
    )
    return admin


def open_reader(settings: Settings, *, connect_timeout_s: float, client_id: str, **options: object) -> KafkaConsumer:
    """A consumer of committed records that belongs to no group; the caller assigns partitions and closes it.

    Raises:
        DependencyError: no broker answers.
    """
    consumer, _ = connect(
        KafkaConsumer,
        settings,
        connect_timeout_s=connect_timeout_s,
        client_id=client_id,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        allow_auto_create_topics=False,
        **options,
    )
    return consumer


def close_producer(producer: Any, timeout_s: float) -> None:
    """Close a `KafkaProducer` for good; what is not confirmed within `timeout_s` fails, and may still have arrived."""
    try:
        producer.close(timeout_s)
    except KafkaTimeoutError:
        # It has given up waiting, but its thread would go on sending, and it offers no public way to stop that.
        producer._sender.force_close()
        producer._sender.join(1.0)
