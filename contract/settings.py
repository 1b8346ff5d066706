"""The settings of every process: read once from the environment, checked, then frozen."""

import os
import re
import socket
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, ValidationError
from pydantic_settings import SettingsConfigDict

from contract.errors import ConfigurationError
from contract.nodes import with_all_nodes
from contract.servers import PREFIX as PREFIX  # of all settings
from contract.servers import ServerSettings, check_servers

# The encoder of what publishes MNIST: the digits' demo, measurements, tests.
DIGITS_ENCODER = "contrast"
API_PROCESSES_MAX = 64

_OWN_PATHS = {"v1", "assets", "docs", "docs.css", "index.html", "openapi.json", "livez", "readyz", "metrics", "..", "."}

# What answers for a collection: the index in memory, or Cassandra's vector index (docs/decisions/0028).
Engine = Literal["exact", "cassandra"]
Port = Annotated[int, Field(ge=1, le=65535)]
OptionalPort = Annotated[int, Field(ge=0, le=65535)]
Addresses = Annotated[str, StringConstraints(pattern=r"^[^\s,]+(,[^\s,]+)*$")]


def _no_own_path(root_path: str) -> str:
    """Below a path of the API's own nobody could tell whether a proxy has taken it off."""
    if root_path.split("/")[1:2] and root_path.split("/")[1] in _OWN_PATHS:
        raise ValueError(f"/{root_path.split('/')[1]} is a path of the API itself. Choose another one")
    return root_path


class Settings(ServerSettings):
    """One field a setting; the environment variable is the field's name in capitals behind ``LOOKALIKE_``."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    kafka_bootstrap: Annotated[str, StringConstraints(pattern=r"^[^\s,:]+:\d+(,[^\s,:]+:\d+)*$")] = Field(
        "127.0.0.1:9092", description="Kafka brokers, host:port, separated by commas."
    )
    kafka_topic: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,200}$")] = Field(
        "images", description="Topic that images are published to; rejected ones go to <topic>.rejected."
    )
    kafka_partitions: Annotated[int, Field(ge=1, le=10_000)] = Field(
        4, description="Partitions of the topic when it is created."
    )
    kafka_retention_hours: Annotated[int, Field(ge=-1)] = Field(
        -1, description="How long Kafka keeps images; -1 keeps them for ever."
    )
    collections: Addresses = Field(
        "all",
        description="Collections that an embedder and an indexer serve: `all`, also those created later, or names separated by commas.",
    )
    kafka_controller_port: Port = Field(9093, description="Controller port of the local Kafka that `stack` starts.")
    cassandra_hosts: Addresses = Field("127.0.0.1", description="Cassandra nodes, separated by commas.")
    cassandra_port: Port = Field(9042, description="CQL port of every Cassandra node.")
    cassandra_keyspace: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,47}$")] = Field(
        "lookalike", description="Keyspace that holds the tables."
    )
    cassandra_storage_port: Port = Field(7000, description="Storage port of the local Cassandra that `stack` starts.")
    cassandra_jmx_port: Port = Field(
        7199,
        description="JMX port of the local Cassandra that `stack` starts; of three nodes, the others have the next two.",
    )
    cassandra_heap_mib: Annotated[int, Field(ge=256)] = Field(
        1024,
        description="Java heap of the local Cassandra, in MiB; of three nodes, each has 512 unless this is set.",
    )
    stack_secured: bool = Field(
        False,
        description="Whether the Kafka and Cassandra that `stack` starts speak TLS and ask who comes: true or false.",
    )
    var_dir: Path = Field(Path("var"), description="Folder of the local servers' data and logs.")
    # Behind var_dir, so that two stacks with a folder each never share an index.
    index_dir: Path = Field(
        default_factory=lambda fields: fields["var_dir"] / "index",
        description="Folder of the indexes, one an encoder; may be deleted, they are rebuilt. By default `index` in the folder above.",
    )
    compiled_dir: Path = Field(
        default_factory=lambda fields: fields["var_dir"] / "numba",
        description="Folder that keeps the compiled search; may be deleted. By default `numba` in the folder of the servers' data.",
    )
    duplicates_dir: Path = Field(
        default_factory=lambda fields: fields["var_dir"] / "duplicates",
        description="Folder of what searches for duplicates found; may be deleted. By default `duplicates` in the folder of the servers' data.",
    )
    encoder: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]*$")] = Field(
        "photo",
        description="Encoder: a folder's name in model/encoders/, or in the folder below of imported ones. The digits of `make demo` have `contrast`.",
    )
    encoders_dir: Path = Field(
        Path("~/.local/share/lookalike/encoders"),
        description="Folder of imported encoders: `python -m model import` adds one. Every program of one installation needs the same.",
    )
    next_encoder: Annotated[str, StringConstraints(pattern=r"^([a-z0-9][a-z0-9-]*)?$")] = Field(
        "", description="Encoder that `stack up` embeds and indexes with beside the other one; empty is none."
    )
    engine: Engine = Field(
        "exact",
        description="What answers for the collection `default`: `exact`, an index in memory, or `cassandra`, its vector index.",
    )
    recall_rows_per_s: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        2000,
        description="How many rows of a table of embeddings an API reads a second to measure recall; 0 measures nothing.",
    )
    accept_truncated: bool | None = Field(
        None,
        description="Whether a JPEG or PNG that lacks its end is taken as browsers show it: true or false; empty is what the encoder's card says.",
    )
    api_host: str = Field("127.0.0.1", description="Address that the API listens on.")
    api_port: Port = Field(8000, description="Port that the API listens on.")
    api_processes: Annotated[int, Field(ge=1, le=API_PROCESSES_MAX)] = Field(
        1, description="API processes that share the port."
    )
    api_cache_mib: Annotated[int, Field(ge=1)] = Field(
        64, description="Memory in which an API process keeps what it has read of images' records, in MiB."
    )
    api_allowed_hosts: Addresses = Field(
        "127.0.0.1,localhost", description="Host names under which writes are accepted, separated by commas."
    )
    keys_file: Path = Field(
        default_factory=lambda fields: fields["var_dir"] / "keys.json",
        description="File of the keys that open the API: `lookalike keys create` adds one. By default `keys.json` in the folder of the servers' data.",
    )
    api_cors_origins: Annotated[str, StringConstraints(pattern=r"^(https?://[^\s,/*]+(,https?://[^\s,/*]+)*)?$")] = (
        Field(
            "",
            description="Origins of other pages that may ask the API from a browser, such as https://example.com, separated by commas.",
        )
    )
    root_path: Annotated[str, StringConstraints(pattern=r"^(/[A-Za-z0-9._~-]+)*$"), AfterValidator(_no_own_path)] = (
        Field(
            "", description="Path below which a proxy serves the API and its page, such as /lookalike; empty is none."
        )
    )
    api_tls_certificate_file: Path | None = Field(
        None, description="Certificate, with its chain, that the API speaks TLS with, as PEM; empty is plain HTTP."
    )
    api_tls_key_file: Path | None = Field(None, description="Key of that certificate, as PEM without a password.")
    search_threads: int = Field(
        0,
        ge=0,
        le=256,
        description="Threads that one long search may use, as long as no other search does; 0 is half of the machine's cores.",
    )
    first: Literal["fair", "searches", "images"] = Field(
        "fair",
        description="Who gets more of the processor where there is too little for both: `searches`, `images` that come in, or neither (`fair`).",
    )
    search_by_address: bool = Field(
        False,
        description="Whether a search may name the address of a picture, which the API then fetches: true or false.",
    )
    show_place: bool = Field(
        False,
        description="Whether the details of an image say where it was taken, if its file does: true or false.",
    )
    private_addresses: bool = Field(
        False,
        description="Whether addresses that users name, of pictures and webhooks, may lead into this network: true or false.",
    )
    otlp_endpoint: Annotated[str, StringConstraints(pattern=r"^(https?://\S+)?$")] = Field(
        "",
        description="Collector that takes traces as OTLP over HTTP, such as http://127.0.0.1:4318; empty sends none.",
    )
    metrics_host: str = Field(
        "127.0.0.1",
        description="Address on which embedder, indexer, watcher and audit serve their metrics, to everybody who reaches it.",
    )
    embedder_metrics_port: OptionalPort = Field(0, description="Prometheus port of the embedder; 0 is none.")
    indexer_metrics_port: OptionalPort = Field(0, description="Prometheus port of the indexer; 0 is none.")
    batch_images_max: Annotated[int, Field(ge=1, le=4096)] = Field(
        512, description="Records that a batch of the embedder has at most; fewer where more would take over a second."
    )
    host_name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{0,100}$")] = Field(
        "",
        description="Name of this machine, by which Kafka tells its embedders from those of others; empty is what the system calls it.",
    )
    decoders: Annotated[int, Field(ge=0, le=256)] = Field(
        0,
        description="Processes that decode and embed the images of one embedder, where an image takes over a millisecond; 0 is one for each core, up to 4.",
    )
    feed_poll_ms: Annotated[int, Field(ge=1, le=10_000)] = Field(
        20, description="Pause between two reads of an idle feed, in milliseconds."
    )
    watcher_metrics_port: OptionalPort = Field(0, description="Prometheus port of the watcher; 0 is none.")
    matches_retention_hours: Annotated[int, Field(ge=-1)] = Field(
        168, description="How long Kafka keeps the matches of watches; -1 keeps them for ever."
    )
    webhook_retry_hours: Annotated[float, Field(gt=0)] = Field(
        24.0, description="How long a match is sent to a webhook again that does not take it, in hours."
    )
    audit_share: Annotated[float, Field(ge=0, le=1)] = Field(
        0.03,
        description="Share of the time in which Kafka's records are compared with what is stored and found, waiting included; 0 is none.",
    )
    audit_metrics_port: OptionalPort = Field(0, description="Prometheus port of the audit; 0 is none.")
    stalled_after_s: Annotated[float, Field(gt=0)] = Field(
        10.0, description="Coverage that stands still for so long while records wait is told as stalled, in seconds."
    )
    rebuild_interval_s: Annotated[float, Field(gt=0)] = Field(
        60.0,
        description="Age at which a tail of more than a thousandth of the base is merged into a new one, in seconds.",
    )
    rebuild_tail_images: Annotated[int, Field(ge=1)] = Field(
        20_000,
        description="Entries in the tail at which a new base is built at once; a fifth of the base where that is more.",
    )
    history_hours: Annotated[float, Field(ge=0, le=1_000_000)] = Field(
        24.0,
        description="How long replaced and deleted images are kept in the index for answers `as_of` an earlier time, in hours; 0 keeps none.",
    )

    @property
    def machine(self) -> str:
        """Name of this machine, as Kafka takes it."""
        return self.host_name or re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:100]

    @property
    def rejected_topic(self) -> str:
        """Topic of the messages that were refused."""
        return f"{self.kafka_topic}.rejected"

    @property
    def matches_topic(self) -> str:
        """Topic of what matched a watch."""
        return f"{self.kafka_topic}.matches"

    @property
    def encoder_index_dir(self) -> Path:
        """Folder of this encoder's index."""
        return self.index_dir / self.encoder

    @property
    def api_address(self) -> str:
        """Address at which the API is reached from this machine, without a slash at its end."""
        host = "127.0.0.1" if self.api_host in ("0.0.0.0", "::") else self.api_host
        scheme = "https" if self.api_tls_certificate_file else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.api_port}{self.root_path}"

    @property
    def cors_origins(self) -> list[str]:
        """Origins of other pages that may ask the API."""
        return [origin for origin in self.api_cors_origins.split(",") if origin]


def load_settings(**overrides: object) -> Settings:
    """Read the environment once.

    Args:
        overrides: values by field name that win over the environment (tests, command lines).

    Raises:
        ConfigurationError: a value is not acceptable; the message names the variable.
    """
    try:
        settings = Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        lines = [
            f"{PREFIX}{(name := '_'.join(map(str, problem['loc'])).upper())}="
            f"{'***' if name.endswith('PASSWORD') else repr(problem['input'])}: {problem['msg']}"
            for problem in error.errors()
        ]
        raise ConfigurationError(
            "Settings are not valid: " + "; ".join(lines) + ". See .env.example for each setting's meaning."
        ) from error
    check_servers(settings)
    return with_all_nodes(settings)


def absolute(folder: Path) -> Path:
    """The folder as a program that runs elsewhere finds it. ``~`` stays where nobody knows a home, as in a container."""
    return Path(os.path.expanduser(folder)).resolve()


def environment_of(settings: Settings) -> dict[str, str]:
    """All settings as environment variables, so that a child process reads exactly these."""
    variables = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        text = "" if value is None else str(absolute(value) if name.endswith(("_dir", "_file")) else value)
        variables[f"{PREFIX}{name.upper()}"] = text
    return variables


def for_digits(settings: Settings) -> Settings:
    """The settings with the encoder that knows digits, unless they name one on purpose."""
    if "encoder" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"encoder": DIGITS_ENCODER})
