"""Kafka as a child process: one KRaft node on loopback."""

import base64
import json
import subprocess
import uuid
from pathlib import Path
from string import Template

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from contract.errors import ConfigurationError, DependencyError
from contract.settings import PREFIX, Settings
from stack import secured
from stack.jars import ROOT, jars
from stack.java import find_java
from stack.service import Service
from topics.clients import connect

LOOPBACK = ("127.0.0.1", "localhost")
_CONF = ROOT / "stack" / "conf"
_HEAP_MIB = 512
_ANSWER_S = 2
# Beside the data of a Kafka that was made with its users.
_SECURED = "secured"


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
    secured.check(settings)
    home = settings.var_dir.resolve() / "kafka"
    return Service(
        name="kafka",
        command=lambda: [*_java(), "kafka.Kafka", str(home / "kafka.properties")],
        log=settings.var_dir.resolve() / "logs" / "kafka.log",
        ports={f"{PREFIX}KAFKA_BOOTSTRAP": int(port), f"{PREFIX}KAFKA_CONTROLLER_PORT": settings.kafka_controller_port},
        prepare=lambda: _prepare(settings, home, int(port)),
        is_ready=lambda: answers_metadata(secured.as_user(settings, secured.OWNER)),
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


def _prepare(settings: Settings, home: Path, port: int) -> None:
    """Write the configuration, and format the data folder if it is new."""
    data_dir = home / "data"
    data_dir.mkdir(parents=True, exist_ok=True)
    properties = home / "kafka.properties"
    is_secured = settings.stack_secured
    text = Template((_CONF / "kafka.properties").read_text()).substitute(
        port=port,
        controller_port=settings.kafka_controller_port,
        data_dir=data_dir,
        clients_protocol="SASL_SSL" if is_secured else "PLAINTEXT",
        controller_protocol="SSL" if is_secured else "PLAINTEXT",
    )
    if is_secured:
        secured.make(settings)
        own = {"secured": secured.folder(settings), "password": secured.password_of(settings, secured.OWNER)}
        text += Template((_CONF / "kafka-secured.properties").read_text()).substitute(own)
    secured.write(properties, text)
    if not (data_dir / "meta.properties").exists():
        _format(settings, data_dir, properties)
    elif (home / _SECURED).exists() != is_secured:
        raise ConfigurationError(
            f"{PREFIX}STACK_SECURED={str(is_secured).lower()}, but the Kafka in {data_dir} was made with it "
            f"{'off' if is_secured else 'on'}, and its users are made with it. Give this stack a folder of its own with "
            f"{PREFIX}VAR_DIR, or delete all data: `python -m stack wipe`."
        )


def _format(settings: Settings, data_dir: Path, properties: Path) -> None:
    """Make the cluster, in a secured stack with its owner."""
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    # `--standalone` makes this node the only voter; `=` keeps an id that starts with "-" from reading as an option.
    words = [
        "kafka.tools.StorageTool",
        "format",
        "--standalone",
        f"--cluster-id={cluster_id}",
        f"--config={properties}",
    ]
    arguments = data_dir.parent / "format"
    if settings.stack_secured:
        (data_dir.parent / _SECURED).touch()
        owner = f"name={secured.OWNER},password={secured.password_of(settings, secured.OWNER)}"
        words.append(f"--add-scram={secured.SCRAM}=[{owner}]")
    # In a file, since everybody on the machine sees a command line.
    secured.write(arguments, "\n".join(json.dumps(word, ensure_ascii=False) for word in words))
    done = subprocess.run(
        [*_java(), f"@{arguments}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    arguments.unlink()
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
