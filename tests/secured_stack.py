"""A secured stack that a test starts, with all programs, and all that is said there."""

import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

import psutil
import pytest
from kafka import KafkaAdminClient
from kafka.admin import ACL
from kafka.errors import ClusterAuthorizationFailedError
from pydantic import SecretStr

from contract.settings import Settings, environment_of, load_settings
from lookalike_client import ApiError, Client
from stack import groups, secured
from stack.jars import ROOT
from stack.ports import free_ports, own_ports
from stack.state import read_state
from tests.conftest import COMPILED_DIR
from tests.keys import add_key, bearer

WRONG_PASSWORD = "wr0ng-passw0rd-of-this-test"
# By chance, with nothing in common: in what Cassandra compresses, the second one of what is alike is no text any more.
HOOK_SECRETS = (token_urlsafe(32), token_urlsafe(32))


@dataclass
class Running:
    """A secured stack with all programs, beside it one whose passwords are wrong, and every error that was seen."""

    settings: Settings
    api_key: str
    shut_out: "subprocess.Popen[bytes]"
    secrets: set[str] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)

    @property
    def client(self) -> Client:
        return Client(self.settings.api_address, api_key=self.api_key, timeout_s=60)

    def as_user(self, user: str, **changes: Any) -> Settings:
        return secured.as_user(self.settings, user).model_copy(update=changes)

    def stored(self) -> Iterator[tuple[Path, bytes]]:
        """All files of the stack with their bytes; without those that a server deletes at that moment."""
        for file in _files(self.settings.var_dir):
            with contextlib.suppress(FileNotFoundError):
                yield file, file.read_bytes()

    def is_data(self, file: Path) -> bool:
        """Whether it is a server's data: also Cassandra's commit log and Kafka's segments are named *.log."""
        return any((self.settings.var_dir / name) in file.parents for name in ("cassandra", "kafka/data"))

    def refused(self, kind: type[BaseException], call: Callable[[], object]) -> str:
        """The error with which a call is refused, to be looked through for secrets too."""
        with pytest.raises(kind) as error:
            call()
        self.errors.append(f"{error.value!s} {error.value!r}")
        return self.errors[-1]

    def told(self) -> dict[str, str]:
        """All that was said, by where: errors, logs, states, metrics, watches and command lines."""
        told: dict[str, str] = {f"error {n}": error for n, error in enumerate(self.errors)}
        made = [file for file in _files(self.settings.var_dir) if file.suffix in (".log", ".json")]
        told |= {
            str(file): file.read_text(errors="replace")
            for file in made
            if file != self.settings.keys_file and not self.is_data(file)
        }
        for name, port in (
            ("embedder", self.settings.embedder_metrics_port),
            ("indexer", self.settings.indexer_metrics_port),
            ("watcher", self.settings.watcher_metrics_port),
            ("audit", self.settings.audit_metrics_port),
            ("api", self.settings.api_port),
        ):
            request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers=bearer(self.api_key))
            with urllib.request.urlopen(request, timeout=20) as answer:
                told[f"metrics of {name}"] = answer.read().decode()
        told["watches"] = json.dumps([str(watch) for watch in self.client.watches()])
        ours = [
            self.shut_out.pid,
            *(each.pid for group in ("servers", "programs") for each in _processes(self.settings, group)),
        ]
        for pid in ours:
            told[f"command line of {pid}"] = " ".join(psutil.Process(pid).cmdline())
        return told


def _files(folder: Path) -> Iterator[Path]:
    return (file for file in folder.rglob("*") if file.is_file())


def _processes(settings: Settings, group: str) -> list[Any]:
    state = read_state(settings, group)
    assert state is not None
    return [each for each in state.processes if each.pid]


@contextlib.contextmanager
def running_secured(var_dir: Path) -> Iterator[Running]:
    """A secured stack, with its data in this folder."""
    ports = dict(zip(("embedder", "indexer", "watcher", "audit"), free_ports(4), strict=True))
    settings = load_settings(
        **own_ports(),
        **{f"{name}_metrics_port": port for name, port in ports.items()},
        stack_secured=True,
        cassandra_heap_mib=512,
        kafka_partitions=2,
        private_addresses=True,
        var_dir=var_dir,
        compiled_dir=COMPILED_DIR,
    )
    api_key = add_key(settings.keys_file, "me", "search", "publish", "admin")
    groups.up(settings, "servers", tied=True)
    wrong = secured.as_user(settings, "embedder").model_copy(
        update={
            **{f"{server}_password": SecretStr(WRONG_PASSWORD) for server in ("kafka", "cassandra")},
            **{f"{server}_password_file": None for server in ("kafka", "cassandra")},
            "embedder_metrics_port": free_ports(1)[0],
        }
    )
    log = (var_dir / "logs" / "shut-out.log").open("wb")
    with subprocess.Popen(
        [sys.executable, "-m", "workers", "embedder", "--slot", "7"],
        cwd=ROOT, env={**os.environ, **environment_of(wrong)}, stdout=log, stderr=subprocess.STDOUT,
    ) as shut_out:  # fmt: skip
        try:
            groups.up(settings, "programs", tied=True)
            passwords = {secured.password_of(settings, user) for user in (secured.OWNER, *secured.USERS)}
            made = Running(settings, api_key, shut_out, {*passwords, WRONG_PASSWORD, api_key, *HOOK_SECRETS})
            made.settings = settings.model_copy(update={"embedder_metrics_port": ports["embedder"]})
            yield made
        finally:
            shut_out.send_signal(signal.SIGKILL)
            groups.down(settings, "programs")
            groups.down(settings, "servers")
            log.close()


def says_something(port: int, tls: ssl.SSLContext) -> bool:
    """Whether a port answers a client that shows no certificate."""
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            tls.wrap_socket(plain, server_hostname="127.0.0.1") as opened,
        ):
            opened.sendall(b"\0" * 8)
            return bool(opened.recv(1))
    except OSError:
        return False


def or_none(ask: Callable[[], Any]) -> Any:
    """What the API answers, None while it refuses: what was made a moment ago is taken up a moment later."""
    try:
        return ask()
    except ApiError:
        return None


def granted(admin: KafkaAdminClient, acl: ACL) -> list[ACL]:
    """What Kafka grants when it is asked to."""
    try:
        succeeded: list[ACL] = admin.create_acls([acl])["succeeded"]
    except ClusterAuthorizationFailedError:
        return []
    return succeeded
