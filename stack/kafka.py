"""Kafka as a child process: one KRaft node on loopback."""

import base64
import subprocess
import uuid
from pathlib import Path
from string import Template

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from contract.errors import ConfigurationError, DependencyError
from contract.settings import PREFIX, Settings
from stack.jars import ROOT, jars
from stack.java import find_java
from stack.service import Service
from topics.clients import connect

LOOPBACK = ("127.0.0.1", "localhost")
_CONF = ROOT / "stack" / "conf"
_HEAP_MIB = 512
_ANSWER_S = 2


def kafka(settings: Settings) -> Service:
    """The broker at `kafka_bootstrap`, with its data in `var_dir`/kafka.

    Raises:
        ConfigurationError: the settings name a broker on another machine, or several.
    """
    host, _, port = settings.kafka_bootstrap.rpartition(":")
    if host not in LOOPBACK:
        raise ConfigurationError(
            f"{PREFIX}KAFKA_BOOTSTRAP={settings.kafka_bootstrap}: `stack` starts one Kafka on 127.0.0.1 only. "
            "Leave it at 127.0.0.1 and choose the port, or start the programs alone: `python -m stack up --only programs`."
        )
    home = settings.var_dir.resolve() / "kafka"
    return Service(
        name="kafka",
        command=lambda: [*_java(), "kafka.Kafka", str(home / "kafka.properties")],
        log=settings.var_dir.resolve() / "logs" / "kafka.log",
        ports={f"{PREFIX}KAFKA_BOOTSTRAP": int(port), f"{PREFIX}KAFKA_CONTROLLER_PORT": settings.kafka_controller_port},
        prepare=lambda: _prepare(home, int(port), settings.kafka_controller_port),
        is_ready=lambda: answers_metadata(settings),
    )


def answers_metadata(settings: Settings) -> bool:
    """Whether the broker is registered and tells so: it accepts connections a little earlier than it serves."""
    try:
        admin, _ = connect(KafkaAdminClient, settings, connect_timeout_s=_ANSWER_S, request_timeout_ms=_ANSWER_S * 1000)
    except DependencyError:
        return False
    try:
        return bool(admin.describe_cluster()["brokers"])
    except (KafkaError, OSError):
        return False
    finally:
        admin.close()


def _prepare(home: Path, port: int, controller_port: int) -> None:
    """Write the configuration, and format the data folder if it is new."""
    data_dir = home / "data"
    data_dir.mkdir(parents=True, exist_ok=True)
    properties = home / "kafka.properties"
    template = Template((_CONF / "kafka.properties").read_text())
    properties.write_text(template.substitute(port=port, controller_port=controller_port, data_dir=data_dir))
    if (data_dir / "meta.properties").exists():
        return
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    # `--standalone` makes this node the only voter; `=` keeps an id that starts with "-" from reading as an option.
    done = subprocess.run(
        [*_java(), "kafka.tools.StorageTool", "format", "--standalone", f"--cluster-id={cluster_id}", f"--config={properties}"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise ConfigurationError(f"Kafka could not format {data_dir}:\n{done.stdout[-2000:]}")


def _java() -> list[str]:
    """Java with our flags and Kafka's jars. The serial collector and one compiler tier start fastest and stay small."""
    return [
        find_java(),
        "-Xms256m",
        f"-Xmx{_HEAP_MIB}m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:+ExitOnOutOfMemoryError",
        "-Xshare:auto",
        "-Djava.awt.headless=true",
        f"-Dlog4j2.configurationFile={_CONF / 'kafka-log4j2.xml'}",
        "-cp",
        f"{jars('kafka')}/*",
    ]
