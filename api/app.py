"""The application: routes, problems, headers and the page, around services that live as long as it does."""

import asyncio
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.access.guard import Guard
from api.access.needs import need_of
from api.access.request_ids import RequestIds
from api.access.streams import BoundedStreams
from api.access.traced import TracedRequests
from api.answers.problems import Problem, add_problem_handlers
from api.answers.records import ROOT_PATH
from api.bootstrap import open_collections
from api.live.collections import OpenCollections
from api.routes import collections, docs, duplicates, health, images, index, rejected, search, session, watches
from api.routes.body_memory import LimitedBodies
from contract.settings import Settings, load_settings
from contract.telemetry import configure_logging
from runtime.tracing import TRACING

DESCRIPTION = (
    "Live reverse image search: exact nearest neighbours over everything that the coverage names. "
    "Every error is RFC 9457 problem+json with a stable code."
)
PAGE = Path(__file__).parents[1] / "web" / "dist"
# blob: and data: are pictures that a person chose and the page shows before they are sent.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_RAW_HEADERS = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]


def create_app(settings: Settings) -> FastAPI:
    """The application for these settings; nothing is opened before it starts."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[Mapping[str, OpenCollections]]:
        TRACING.start(settings, "lookalike-api")
        async with open_collections(settings) as opened:
            _at_signal(opened.close_streams)
            yield {"collections": opened}

    app = FastAPI(
        title="lookalike",
        description=DESCRIPTION,
        version="1",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    for part in (collections, session):
        app.include_router(part.router, prefix="/v1")
    for part in (search, images, index, rejected, duplicates, watches):
        app.include_router(part.router, prefix="/v1")
        app.include_router(
            part.router, prefix="/v1/collections/{collection}", dependencies=[Depends(collections.look_for_collection)]
        )
    for part in (health, docs):
        app.include_router(part.router)
    app.frontend("/", directory=PAGE, fallback=None)
    add_problem_handlers(app)
    app.add_middleware(LimitedBodies)
    app.add_middleware(BoundedStreams)
    app.add_middleware(Guard, settings=settings)
    app.add_middleware(TracedRequests)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Last-Event-ID", "If-None-Match", "X-Request-Id"],
            expose_headers=["ETag", "Location", "Retry-After", "WWW-Authenticate", "X-Request-Id"],
        )
    if settings.root_path:
        app.add_middleware(BelowPath, root_path=settings.root_path)
    app.add_middleware(SafeHeaders)
    app.add_middleware(RequestIds)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def app_from_environment() -> FastAPI:
    """The application of one server process."""
    configure_logging()
    if (parent := multiprocessing.parent_process()) is not None:
        threading.Thread(target=_end_with, args=(parent,), name="parent", daemon=True).start()
    # A lost connection makes them say so several times a second, with tracebacks; we say it once.
    for noisy in ("kafka", "cassandra"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    return create_app(load_settings())


class SafeHeaders:
    """Adds headers that forbid a browser everything that the page does not need."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_RAW_HEADERS]
            await send(message)

        await self._app(scope, receive, send_with_headers)


class BelowPath:
    """Has answers' links begin with the path below which a proxy serves us, whether it takes that off or not."""

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self._app = app
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["path"] == self._root_path:
            # The page's own addresses begin where it lies.
            await RedirectResponse(f"{self._root_path}/", 308)(scope, receive, send)
            return
        scope["root_path"] = self._root_path
        ROOT_PATH.set(self._root_path)
        await self._app(scope, receive, send)


def _at_signal(callback: Callable[[], None]) -> None:
    """Call `callback` on the event loop when the process is asked to end, before the server's own handler.

    The server waits for open connections before it ends the application, and an event stream stays open until it is told.
    """
    if threading.current_thread() is not threading.main_thread():
        return  # signals are another thread's business
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        servers_own = signal.getsignal(number)

        def handle(number: int, frame: FrameType | None, servers_own: Any = servers_own) -> None:
            loop.call_soon_threadsafe(callback)
            if callable(servers_own):
                servers_own(number, frame)

        signal.signal(number, handle)


def _end_with(parent: BaseProcess) -> None:
    """End this process when its parent was killed, so that no orphan keeps the port."""
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document with the schema of problems, which no route returns by type."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        # The others can be left out by `with`.
        document["components"]["schemas"]["SearchMatch"]["required"] = ["id", "distance"]
        document["components"]["schemas"]["Problem"] = Problem.model_json_schema()
        document["components"]["securitySchemes"] = {
            "key": {"type": "http", "scheme": "bearer", "description": "A key of `lookalike keys create`."}
        }
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                if need := need_of(method.upper(), path):
                    operation["security"] = [{"key": [need.scope] if need.scope else []}]
        app.openapi_schema = document
    return app.openapi_schema
