"""Cassandra as a child process: one node on loopback."""

import contextlib
import socket
import ssl
from pathlib import Path
from string import Template

from contract.errors import ConfigurationError
from contract.settings import PREFIX, Settings
from runtime.credentials import cassandra_tls
from stack import secured
from stack.jars import ROOT, jars
from stack.java import find_java
from stack.kafka import LOOPBACK
from stack.service import Service

_CONF = ROOT / "stack" / "conf"
_OPTIONS_FRAME = bytes.fromhex("040000000500000000")
_SUPPORTED_OPCODE = 0x06
_RESPONSE_V4 = 0x84


def cassandra(settings: Settings) -> Service:
    """The node at `cassandra_port`, with its data in `var_dir`/cassandra.

    Raises:
        ConfigurationError: the settings name a node on another machine, or several.
    """
    if settings.cassandra_hosts not in LOOPBACK:
        raise ConfigurationError(
            f"{PREFIX}CASSANDRA_HOSTS={settings.cassandra_hosts}: `stack` starts one Cassandra on 127.0.0.1 only. "
            "Leave it at 127.0.0.1, or start the programs alone: `python -m stack up --only programs`."
        )
    var_dir = settings.var_dir.resolve()
    return Service(
        name="cassandra",
        command=lambda: _command(settings, var_dir / "cassandra", var_dir / "logs"),
        log=var_dir / "logs" / "cassandra.log",
        ports={
            f"{PREFIX}CASSANDRA_PORT": settings.cassandra_port,
            f"{PREFIX}CASSANDRA_STORAGE_PORT": settings.cassandra_storage_port,
            **({} if settings.stack_secured else {f"{PREFIX}CASSANDRA_JMX_PORT": settings.cassandra_jmx_port}),
        },
        prepare=lambda: _prepare(settings, var_dir / "cassandra"),
        is_ready=lambda: answers_options(
            settings.cassandra_port, cassandra_tls(secured.as_user(settings, secured.OWNER))
        ),
        # glibc's arenas would otherwise grow to eight a core, for nothing.
        environment={"MALLOC_ARENA_MAX": "4"},
        stop_s=60.0,
    )


def answers_options(port: int, tls: ssl.SSLContext | None = None) -> bool:
    """Whether the CQL port answers an OPTIONS frame with SUPPORTED; the port opens only when the node serves."""
    try:
        with contextlib.ExitStack() as opened:
            connection = opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=2.0))
            if tls is not None:
                connection = opened.enter_context(tls.wrap_socket(connection, server_hostname="127.0.0.1"))
            connection.sendall(_OPTIONS_FRAME)
            header = connection.recv(9)
    except OSError:
        return False
    return len(header) >= 5 and header[0] == _RESPONSE_V4 and header[4] == _SUPPORTED_OPCODE


def _prepare(settings: Settings, home: Path) -> None:
    """Write the configuration; Cassandra makes its own data folders."""
    (home / "conf").mkdir(parents=True, exist_ok=True)
    (home / "tmp").mkdir(exist_ok=True)
    storage_port = settings.cassandra_storage_port
    text = Template((_CONF / "cassandra.yaml").read_text()).substitute(
        port=settings.cassandra_port,
        storage_port=storage_port,
        ssl_storage_port=storage_port + 1 if storage_port < 65535 else storage_port - 1,
        home=home,
    )
    if settings.stack_secured:
        secured.make(settings)
        text += Template((_CONF / "cassandra-secured.yaml").read_text()).substitute(secured=secured.folder(settings))
    (home / "conf" / "cassandra.yaml").write_text(text)


def _command(settings: Settings, home: Path, logs: Path) -> list[str]:
    """Java with Cassandra's own module flags, a fixed heap, and the waits of a many-node ring switched off.

    One compiler tier, as Kafka has it: on two cores the second one took as long as all the work of the first 60,000 images, and what
    it brings is a quarter of a row's cost (docs/benchmarks.md).
    """
    folder = jars("cassandra")
    (jamm,) = folder.glob("jamm-*.jar")
    flags = (_CONF / "cassandra-jvm.flags").read_text().split()
    return [
        find_java(),
        *flags,
        f"-javaagent:{jamm}",
        f"-Xms{settings.cassandra_heap_mib}M",
        f"-Xmx{settings.cassandra_heap_mib}M",
        "-XX:MaxDirectMemorySize=512M",
        f"-XX:ErrorFile={logs}/cassandra-crash-%p.log",
        f"-Djava.io.tmpdir={home / 'tmp'}",
        f"-Dlogback.configurationFile={(_CONF / 'cassandra-logback.xml').as_uri()}",
        f"-Dcassandra.config={(home / 'conf' / 'cassandra.yaml').as_uri()}",
        f"-Dcassandra.storagedir={home}",
        f"-Dcassandra.logdir={logs}",
        "-Dcassandra-foreground=true",
        # The "local" port binds JMX to loopback, where it asks nobody for a password: a secured stack has none.
        *([] if settings.stack_secured else [f"-Dcassandra.jmx.local.port={settings.cassandra_jmx_port}"]),
        "-Dcom.sun.management.jmxremote.authenticate=false",
        "-Dcassandra.libjemalloc=-",
        "-Dcassandra.skip_wait_for_gossip_to_settle=0",
        "-Dcassandra.ring_delay_ms=1",
        "-Dcassandra.consistent.rangemovement=false",
        "-Dcassandra.load_ring_state=false",
        "-Dcassandra.superuser_setup_delay_ms=0",
        "-Dcassandra.shutdown_announce_in_ms=0",
        "-cp",
        f"{home / 'conf'}:{folder}/*",
        "org.apache.cassandra.service.CassandraDaemon",
    ]
