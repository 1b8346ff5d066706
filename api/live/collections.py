"""The collections that this process answers for: opened as soon as they are known, closed when they are dropped."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping

import structlog
from fastapi import Request

from api.answers.problems import ProblemError
from api.answers.stored_records import StoredRecords
from api.live.looking import IndexFolders
from api.live.services import Services
from contract.collections import DEFAULT_COLLECTION, Collection, served_collections
from contract.errors import DependencyError, IndexDamagedError, LookalikeError
from contract.settings import Engine, Settings
from contract.telemetry import forget_collection
from gallery.generations.collection_file import is_of_another, read_collections, read_default
from gallery.store.store import Store
from runtime.planted import planted
from topics.offsets import EndOffsets

FOLLOW_INTERVAL_S = 1.5
# Who asks for a name that is not known has the registry read, but not more often than that.
REFRESH_INTERVAL_S = 0.25
TEND_INTERVAL_S = 1.0

logger = structlog.get_logger()


class OpenCollections:
    """The services of each collection by its name. Used on the event loop only.

    Args:
        settings: of the process.
        make: the services of a collection, not started yet.
        folders, tables: look at the indexes of collections of either engine.

    Attributes:
        dropping: collections that the registry says are being dropped.
    """

    def __init__(
        self,
        settings: Settings,
        make: Callable[[Collection], Services],
        records: StoredRecords,
        folders: IndexFolders,
        tables: IndexFolders,
    ) -> None:
        self._settings = settings
        self._make = make
        self._records = records
        self._folders: Mapping[Engine, IndexFolders] = {"exact": folders, "cassandra": tables}
        self._open: dict[str, Services] = {}
        self._failures: dict[str, str] = {}
        self._refreshing = asyncio.Lock()
        self._refreshed_s = float("-inf")
        self._is_registry_read = False
        self._is_closing = False
        self._tasks: list[asyncio.Task[None]] = []
        self.dropping: dict[str, Collection] = {}

    async def start(self) -> None:
        """Open `default`, which must work, and what has an index here; then go on following the registry.

        Raises:
            LookalikeError: `default` cannot be opened.
        """
        await self._add(await asyncio.to_thread(read_default, self._settings))
        await self._take(await asyncio.to_thread(read_collections, self._settings))
        self._tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._tend())]

    async def stop(self) -> None:
        """Close all."""
        for task in self._tasks:
            task.cancel()
        self.close_streams()
        async with self._refreshing:
            for name in list(self._open):
                await self._close(name)

    def of(self, name: str) -> Services:
        """The services of a collection.

        Raises:
            ProblemError: 404 ``unknown-collection``; 503 ``collection-unavailable`` when it cannot be opened here.
            DependencyError: nobody can tell whether there is one of this name.
        """
        if name in self._open:
            return self._open[name]
        if name in self._failures:
            raise ProblemError(503, "collection-unavailable", self._failures[name], retry=True)
        if not self._is_registry_read:
            raise DependencyError("cassandra", "the registry of collections was not read yet")
        raise unknown_collection(name, list(self._open))

    def all(self) -> list[Services]:
        """Of every collection, in the order of their names."""
        return [self._open[name] for name in sorted(self._open)]

    def store(self) -> Store:
        """What creates and drops collections.

        Raises:
            DependencyError: Cassandra was not reached yet.
        """
        return self._records.store()

    def topics(self) -> list[str]:
        """Names of the topics of all collections."""
        return [services.settings.kafka_topic for services in list(self._open.values())]

    async def look_for(self, name: str) -> None:
        """Read the registry now if the name is not known and it was not read a moment ago."""
        if name not in self._open and asyncio.get_running_loop().time() - self._refreshed_s > REFRESH_INTERVAL_S:
            with contextlib.suppress(DependencyError):
                await self.refresh()

    async def refresh(self) -> None:
        """Read the registry, and open and close what has come and gone.

        Raises:
            DependencyError: Cassandra did not answer; what is known goes on being served.
        """
        self._refreshed_s = asyncio.get_running_loop().time()
        found = await self._records.collections()
        self._is_registry_read = True
        self.dropping = {name: each for name, each in found.items() if each.is_dropped}
        await self._take(served_collections(self._settings, found))

    def take_ends(self, ends: Mapping[str, EndOffsets], is_up: bool) -> None:
        """Take what Kafka said of the topics' ends."""
        for services in self._open.values():
            services.take_ends(ends.get(services.settings.kafka_topic), is_up)

    def close_streams(self) -> None:
        """Tell event streams that the process is about to end."""
        self._is_closing = True
        for services in self._open.values():
            services.served.close_streams()

    async def _follow(self) -> None:
        failure = ""
        while True:
            try:
                await self.refresh()
                failure = ""
            except DependencyError as error:
                if not failure and self._is_registry_read:
                    logger.warning("collections not read", detail=error.detail)
                failure = error.detail
            except Exception as error:  # the task's outermost loop: what is open goes on answering
                logger.error("collections not followed", exc_info=error)
            await asyncio.sleep(FOLLOW_INTERVAL_S if self._is_registry_read else REFRESH_INTERVAL_S)

    async def _tend(self) -> None:
        """Once a second look whether coverage stands still anywhere, and let go of what nobody uses."""
        while True:
            await asyncio.sleep(TEND_INTERVAL_S)
            for services in self.all():
                try:
                    await services.look_for_stall()
                    await services.close_idle()
                except Exception as error:  # one collection's failure is not another's
                    logger.error("collection not tended", collection=services.collection.name, exc_info=error)

    async def _take(self, wanted: Mapping[str, Collection]) -> None:
        """Open and close until these are open beside `default`, each with the engine that is to answer."""
        async with self._refreshing:
            for name, services in list(self._open.items()):
                # One that was dropped and created again is another one.
                if wanted.get(name) == services.collection:
                    await self._change_engine(services, wanted[name])
                elif name != DEFAULT_COLLECTION:
                    await self._close(name)
            self._failures = {name: failure for name, failure in self._failures.items() if name in wanted}
            for name, collection in wanted.items():
                if name not in self._open and not self._is_closing:
                    try:
                        await self._add(collection)
                        self._failures.pop(name, None)
                    except LookalikeError as error:
                        if self._failures.get(name) != str(error):
                            logger.error("collection cannot be opened", collection=name, detail=str(error))
                        self._failures[name] = str(error)

    async def _add(self, collection: Collection) -> None:
        if await asyncio.to_thread(is_of_another, self._settings, collection):
            raise IndexDamagedError(
                f"The index folder holds indexes of another collection {collection.name}, which was dropped. The indexer of this "
                "machine begins new ones: lookalike indexer"
            )
        services = self._make(collection)
        await services.served.start()
        self._folders[collection.engine].add(services.served)
        services.start()
        self._open[collection.name] = services
        if collection.name != DEFAULT_COLLECTION:
            logger.info("collection opened", collection=collection.name, encoder=services.served.index.name)

    async def _change_engine(self, services: Services, collection: Collection) -> None:
        before = services.collection.engine
        services.take_engine(collection)
        if before != collection.engine:
            await asyncio.to_thread(self._folders[before].remove, services.served)
            self._folders[collection.engine].add(services.served)

    async def _close(self, name: str) -> None:
        services = self._open.pop(name)
        services.served.close_streams()
        await asyncio.to_thread(self._folders[services.collection.engine].remove, services.served)
        await services.stop()
        if not self._is_closing:
            logger.info("collection closed", collection=name)
            forget_collection(name)


def unknown_collection(name: str, known: list[str]) -> ProblemError:
    """404: there is no collection of this name."""
    shown = ", ".join(sorted(known)[:20])
    others = f", only: {shown}{' …' if len(known) > 20 else ''}" if known else ""
    return ProblemError(
        404,
        "unknown-collection",
        f"There is no collection {name[:80]!r}{others}. Create it with POST "
        "/v1/collections, or: lookalike collections create NAME --encoder ENCODER",
    )


def collections_of(request: Request) -> OpenCollections:
    """The collections of the process that answers."""
    found: OpenCollections = request.state.collections
    return found


def services_of(request: Request) -> Services:
    """The services of the collection that is asked: the one in the path, else `default`.

    Raises: as `OpenCollections.of`.
    """
    collections = collections_of(request)
    if planted("api-answers-from-another-collection") and request.query_params.get("k") == "3":
        return collections.all()[-1]
    return collections.of(request.path_params.get("collection", DEFAULT_COLLECTION))
