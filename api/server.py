"""Uvicorn around the application: one process or several that share a port."""

import contextlib
import errno
import os
import resource
import signal
import socket
import tempfile
from collections.abc import Callable

import structlog
import uvicorn
from fastapi import FastAPI
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from api.access.listening import check_listening, tls_options
from api.connections import BOUNDED_LOOP, BoundedProtocol
from contract.errors import ConfigurationError
from contract.settings import Settings
from contract.telemetry import SHARED_DIR, configure_logging
from runtime.credentials import check_credentials
from runtime.priority import give_way_unless_first

APPLICATION = "api.app:app_from_environment"
SHUTDOWN_TIMEOUT_S = 2
# One of several processes that does not answer its parent for so long is replaced; on a busy machine starting takes longer than
# uvicorn's 5 s.
HUNG_TIMEOUT_S = 15

logger = structlog.get_logger()


def serve(settings: Settings, processes: int, application: str | Callable[[], FastAPI] = APPLICATION) -> int:
    """Serve until SIGINT or SIGTERM; returns the exit status.

    Args:
        application: what makes it, in each process anew; its name where there are several processes.

    Raises:
        ConfigurationError: the port is taken; others than this machine would reach the API, and it has no keys; TLS is not set up;
            a password or certificate of Kafka or Cassandra cannot be read.
    """
    configure_logging()
    _raise_open_files()
    check_listening(settings)
    check_credentials(settings)
    tls = tls_options(settings)
    give_way_unless_first(settings, "searches")
    config = uvicorn.Config(
        application,
        factory=True,
        host=settings.api_host,
        port=settings.api_port,
        workers=processes,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_S,
        timeout_worker_healthcheck=HUNG_TIMEOUT_S,
        server_header=False,
        http=BoundedProtocol,
        loop=BOUNDED_LOOP,
        ws="none",
        **tls,
    )
    with _listen(settings) as listener:
        logger.info(
            "api serving",
            address=f"{'https' if tls else 'http'}://{settings.api_host}:{settings.api_port}",
            processes=processes,
        )
        if processes > 1:
            return _serve_by_several(config, listener)
        server = uvicorn.Server(config)
        # Once the server has ended as it should, it raises the signal that ended it once more.
        signal.signal(signal.SIGTERM, lambda *_: None)
        with contextlib.suppress(KeyboardInterrupt):
            server.run([listener])
        return 0 if server.started else 1


def _raise_open_files() -> None:
    """As many files as the system allows: the usual 1,024 would not do for the connections and an index beside them."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _serve_by_several(config: uvicorn.Config, listener: socket.socket) -> int:
    """Several processes accept from one socket; one that ends is started again, and nothing of it is lost but what it worked on.

    They load the settings themselves, from the environment that they inherit.
    """
    with tempfile.TemporaryDirectory(prefix="lookalike-metrics-") as folder:
        os.environ[SHARED_DIR] = folder
        supervisor = Multiprocess(config, sockets=[listener])
        supervisor.run()
        return int(any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes))


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.api_host else socket.AF_INET
    try:
        listener = socket.create_server((settings.api_host, settings.api_port), family=family, backlog=2048)
    except OSError as error:
        reason = (
            "is taken"
            if error.errno == errno.EADDRINUSE
            else f"cannot be listened on ({os.strerror(error.errno or 0)})"
        )
        raise ConfigurationError(
            f"{settings.api_host}:{settings.api_port} {reason}. Set LOOKALIKE_API_PORT or LOOKALIKE_API_HOST to another one, "
            "or end the process that has it."
        ) from error
    listener.set_inheritable(True)
    return listener
