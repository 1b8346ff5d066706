"""Cassandra as child processes: one node on loopback, or three."""

import contextlib
import socket
import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path
from string import Template

from contract.errors import ConfigurationError
from contract.settings import PREFIX, Settings
from runtime.credentials import cassandra_tls
from stack import secured
from stack.jars import ROOT, jars
from stack.java import find_java
from stack.nodes import FIRST, Node, nodes
from stack.service import Service

_CONF = ROOT / "stack" / "conf"
_LOGBACK = (_CONF / "cassandra-logback.xml").as_uri()
_JOINED = "joined"
# How long one that takes another's place listens to the ring before it does.
_RING_DELAY_MS = 10_000
_OPTIONS_FRAME = bytes.fromhex("040000000500000000")
_SUPPORTED_OPCODE = 0x06
_RESPONSE_V4 = 0x84


def cassandra(settings: Settings, number: int = 1) -> Service:
    """The node at `cassandra_port`, or one of them, with its data in `var_dir`/cassandra.

    Raises:
        ConfigurationError: the settings name nodes on another machine, or others than there are.
    """
    node = nodes(settings, "cassandra")[number - 1]
    logs = settings.var_dir.resolve() / "logs"

    def is_ready() -> bool:
        tls = cassandra_tls(secured.as_user(settings, secured.OWNER))
        if not answers_options(settings.cassandra_port, tls, node.host):
            return False
        if settings.stack_nodes > 1:
            note_joined(node)
        return True

    return Service(
        name=node.name,
        command=lambda: _command(settings, node, logs),
        log=logs / f"{node.name}.log",
        host=node.host,
        ports={
            f"{PREFIX}CASSANDRA_PORT": settings.cassandra_port,
            f"{PREFIX}CASSANDRA_STORAGE_PORT": settings.cassandra_storage_port,
            **({} if settings.stack_secured else {f"{PREFIX}CASSANDRA_JMX_PORT": jmx_port(settings, node)}),
        },
        prepare=lambda: _prepare(settings, node),
        is_ready=is_ready,
        # glibc's arenas would otherwise grow to eight a core, for nothing.
        environment={"MALLOC_ARENA_MAX": "4"},
        stop_s=60.0,
    )


def jmx_port(settings: Settings, node: Node) -> int:
    """Where a node is told what its operator wants, at 127.0.0.1 whatever its own address: so each has a port of its own."""
    return settings.cassandra_jmx_port + node.number - 1


def nodetool(settings: Settings, number: int, arguments: Sequence[str]) -> int:
    """Run Cassandra's own tool against one of the nodes that `stack` started; its exit status.

    Raises:
        ConfigurationError: there is no such node, or none may be told anything.
    """
    found = nodes(settings, "cassandra")
    if not 1 <= number <= len(found):
        raise ConfigurationError(f"--node {number}: there are {len(found)}. With three, say {PREFIX}STACK_NODES=3.")
    if settings.stack_secured:
        raise ConfigurationError("The Cassandra of a secured stack has no JMX, which nodetool needs.")
    opened = [flag for flag in (_CONF / "cassandra-jvm.flags").read_text().split() if flag.startswith("--add")]
    port = str(jmx_port(settings, found[number - 1]))
    command = [
        find_java(), *opened, "-Xmx128m", f"-Duser.home={found[0].home}", f"-Dlogback.configurationFile={_LOGBACK}",
        "-cp", f"{jars('cassandra')}/*", "org.apache.cassandra.tools.NodeTool", "-h", FIRST, "-p", port, *arguments,
    ]  # fmt: skip
    return subprocess.run(command, check=False).returncode


def answers_options(port: int, tls: ssl.SSLContext | None = None, host: str = FIRST) -> bool:
    """Whether the CQL port answers an OPTIONS frame with SUPPORTED; the port opens only when the node serves."""
    try:
        with contextlib.ExitStack() as opened:
            connection = opened.enter_context(socket.create_connection((host, port), timeout=2.0))
            if tls is not None:
                connection = opened.enter_context(tls.wrap_socket(connection, server_hostname=host))
            connection.sendall(_OPTIONS_FRAME)
            header = connection.recv(9)
    except OSError:
        return False
    return len(header) >= 5 and header[0] == _RESPONSE_V4 and header[4] == _SUPPORTED_OPCODE


def _prepare(settings: Settings, node: Node) -> None:
    """Write the configuration; Cassandra makes its own data folders."""
    home = node.home
    (home / "conf").mkdir(parents=True, exist_ok=True)
    (home / "tmp").mkdir(exist_ok=True)
    storage_port = settings.cassandra_storage_port
    is_cluster = settings.stack_nodes > 1
    is_replaced = is_cluster and _is_replaced(node)
    seeds = [each.host for each in nodes(settings, "cassandra") if each != node or not is_replaced]
    text = Template((_CONF / "cassandra.yaml").read_text()).substitute(
        host=node.host,
        port=settings.cassandra_port,
        storage_port=storage_port,
        ssl_storage_port=storage_port + 1 if storage_port < 65535 else storage_port - 1,
        home=home,
        seeds=",".join(seeds),
        token=(node.number - (settings.stack_nodes + 1) // 2) * (2**64 // settings.stack_nodes),
        # All start at once on empty folders. One that takes the place of another has its rows to fetch.
        bootstrap=str(is_replaced).lower(),
        hinted_handoff=str(is_cluster).lower(),
        # Of three, one that stands still must not hold up what the others have for as long.
        timeout_s=4 if is_cluster else 10,
        # Of a range no third replica is asked when one does not answer (gallery/store/lately.py).
        range_timeout_s=10 if is_cluster else 20,
    )
    if settings.stack_secured:
        secured.make(settings)
        text += Template((_CONF / "cassandra-secured.yaml").read_text()).substitute(secured=secured.folder(settings))
    (home / "conf" / "cassandra.yaml").write_text(text)


def _waits(settings: Settings, node: Node) -> list[str]:
    """How long a node waits for what it hears of the others: not at all where there are none."""
    if settings.stack_nodes == 1:
        return [
            "-Dcassandra.skip_wait_for_gossip_to_settle=0",
            "-Dcassandra.ring_delay_ms=1",
            "-Dcassandra.consistent.rangemovement=false",
            "-Dcassandra.load_ring_state=false",
            "-Dcassandra.superuser_setup_delay_ms=0",
        ]
    if _is_replaced(node):
        return [f"-Dcassandra.replace_address_first_boot={node.host}", f"-Dcassandra.ring_delay_ms={_RING_DELAY_MS}"]
    return ["-Dcassandra.ring_delay_ms=1"]


def note_joined(node: Node) -> None:
    """Note in its folder and beside it that a node is one of the ring, so that it is known when its folder is another one."""
    for mark in (node.home / _JOINED, _mark_beside(node)):
        if not mark.exists():
            mark.touch()


def _is_replaced(node: Node) -> bool:
    """Whether a node that was one of the ring has lost its folder, and has not got its rows back yet."""
    return _mark_beside(node).exists() and not (node.home / _JOINED).exists()


def _mark_beside(node: Node) -> Path:
    return node.home.with_name(f"{node.name}-{_JOINED}")


def _command(settings: Settings, node: Node, logs: Path) -> list[str]:
    """Java with Cassandra's own module flags, a fixed heap, and the waits of a many-node ring switched off.

    One compiler tier, as Kafka has it: on two cores the second one took as long as all the work of the first 60,000 images, and what
    it brings is a quarter of a row's cost (docs/benchmarks.md).
    """
    home, folder = node.home, jars("cassandra")
    (jamm,) = folder.glob("jamm-*.jar")
    flags = (_CONF / "cassandra-jvm.flags").read_text().split()
    return [
        find_java(),
        *flags,
        f"-javaagent:{jamm}",
        f"-Xms{settings.cassandra_heap_mib}M",
        f"-Xmx{settings.cassandra_heap_mib}M",
        "-XX:MaxDirectMemorySize=512M",
        f"-XX:ErrorFile={logs}/{node.name}-crash-%p.log",
        f"-Djava.io.tmpdir={home / 'tmp'}",
        f"-Dlogback.configurationFile={_LOGBACK}",
        f"-Dcassandra.config={(home / 'conf' / 'cassandra.yaml').as_uri()}",
        f"-Dcassandra.storagedir={home}",
        f"-Dcassandra.logdir={logs}",
        "-Dcassandra-foreground=true",
        # The "local" port binds JMX to loopback, where it asks nobody for a password: a secured stack has none.
        *([] if settings.stack_secured else [f"-Dcassandra.jmx.local.port={jmx_port(settings, node)}"]),
        "-Dcom.sun.management.jmxremote.authenticate=false",
        "-Dcassandra.libjemalloc=-",
        *_waits(settings, node),
        "-Dcassandra.shutdown_announce_in_ms=0",
        "-cp",
        f"{home / 'conf'}:{folder}/*",
        "org.apache.cassandra.service.CassandraDaemon",
    ]
