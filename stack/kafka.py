"""Kafka as child processes: one KRaft node on loopback, or three."""

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
from stack.nodes import Node, kafka_port, nodes
from stack.service import Service
from topics.clients import connect

_CONF = ROOT / "stack" / "conf"
_HEAP_MIB = 512
_ANSWER_S = 2
# Beside the data of a Kafka that was made with its users.
_SECURED = "secured"


def kafka(settings: Settings, number: int = 1) -> Service:
    """The broker at `kafka_bootstrap`, or one of them, with its data in `var_dir`/kafka.

    Raises:
        ConfigurationError: the settings name brokers on another machine, or others than there are nodes.
    """
    secured.check(settings)
    node = nodes(settings, "kafka")[number - 1]
    port = kafka_port(settings)
    own = secured.as_user(settings, secured.OWNER).model_copy(update={"kafka_bootstrap": f"{node.host}:{port}"})
    return Service(
        name=node.name,
        command=lambda: [*_java(), "kafka.Kafka", str(node.home / "kafka.properties")],
        log=settings.var_dir.resolve() / "logs" / f"{node.name}.log",
        host=node.host,
        ports={f"{PREFIX}KAFKA_BOOTSTRAP": port, f"{PREFIX}KAFKA_CONTROLLER_PORT": settings.kafka_controller_port},
        prepare=lambda: _prepare(settings, node, port),
        is_ready=lambda: answers_metadata(own),
    )


def answers_metadata(settings: Settings) -> bool:
    """Whether the broker is registered and tells so: it accepts connections a little earlier than it serves."""
    try:
        admin, _ = connect(KafkaAdminClient, settings, connect_timeout_s=_ANSWER_S, request_timeout_ms=_ANSWER_S * 1000)
    except DependencyError:
        return False
    try:
        return settings.kafka_bootstrap in (
            f"{broker['host']}:{broker['port']}" for broker in admin.describe_cluster()["brokers"]
        )
    except (KafkaError, OSError):
        return False
    finally:
        admin.close()


def _prepare(settings: Settings, node: Node, port: int) -> None:
    """Write the configuration, and format the data folder if it is new."""
    home, data_dir = node.home, node.home / "data"
    data_dir.mkdir(parents=True, exist_ok=True)
    properties = home / "kafka.properties"
    is_secured = settings.stack_secured
    text = Template((_CONF / "kafka.properties").read_text()).substitute(
        number=node.number,
        host=node.host,
        port=port,
        controller_port=settings.kafka_controller_port,
        data_dir=data_dir,
        clients_protocol="SASL_SSL" if is_secured else "PLAINTEXT",
        controller_protocol="SSL" if is_secured else "PLAINTEXT",
    )
    if settings.stack_nodes > 1:
        voters = [f"{each.number}@{each.host}:{settings.kafka_controller_port}" for each in nodes(settings, "kafka")]
        text += Template((_CONF / "kafka-cluster.properties").read_text()).substitute(voters=",".join(voters))
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
    """Make the cluster, in a secured stack with its owner; or make the folder of one of its brokers, also when it was lost."""
    # `=` keeps an id that starts with "-" from reading as an option.
    words = [
        "kafka.tools.StorageTool",
        "format",
        f"--cluster-id={_cluster_id(settings)}",
        f"--config={properties}",
    ]
    if settings.stack_nodes == 1:
        words.append("--standalone")  # This node is the only voter; those of three are in their properties.
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


def _cluster_id(settings: Settings) -> str:
    """A new one, which three brokers have in common."""
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    if settings.stack_nodes == 1:
        return cluster_id
    file = settings.var_dir.resolve() / "kafka" / "cluster-id"
    if not file.exists():
        secured.write(file, cluster_id)
    return file.read_text()


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
