"""Creates, lists and deletes watches, and follows what matched them."""

import secrets
import uuid
from collections.abc import AsyncIterator, Callable

import anyio
import anyio.to_thread

from api.answers.problems import ProblemError
from api.answers.queries import Query
from api.answers.stored_records import StoredRecords
from contract.settings import Settings
from gallery.store.store import Store
from gallery.store.watches import StoredWatch, WatchImage, WatchStart
from topics.matches import NewestMatches, NumberedMatch
from topics.offsets import EndOffsets
from topics.topic import Topic

WATCHES_MAX = 10_000
WRITE_TIMEOUT_S = 15.0
MATCHES_INTERVAL_S = 0.25


class Watching:
    """The watches of a collection. Used on the event loop only.

    Args:
        clock: seconds since 1970.
    """

    def __init__(self, settings: Settings, records: StoredRecords, clock: Callable[[], float]) -> None:
        self._topic_name, self._records, self._clock = settings.kafka_topic, records, clock
        self._topic = Topic(settings)
        self._newest = NewestMatches(settings)
        self._asked_s = 0.0

    async def create(
        self,
        query: Query,
        image: bytes | None,
        *,
        encoder: str,
        max_distance: float,
        name: str,
        webhook: str,
        filter_text: str = "",
    ) -> StoredWatch:
        """Create a watch that is told of every record that Kafka does not have yet.

        Args:
            image: the query's, None when it is an embedding.
            encoder: fingerprint of the one that made the query.
            filter_text: JSON of a filter that was read, "" without one.

        Raises:
            DependencyError: Kafka or Cassandra did not answer.
            ProblemError: 409 ``too-many-watches``, 503 ``no-topic``.
        """
        self._asked_s = anyio.current_time()
        # Asked first: what comes while the rest is done counts.
        ends: EndOffsets | None = await anyio.to_thread.run_sync(self._topic.end_offsets)
        if ends is None:
            raise ProblemError(
                503,
                "no-topic",
                f"Topic {self._topic_name} does not exist, so nothing can be watched. Create it: `lookalike topics`.",
                retry=True,
            )
        shown = query.shown if image is not None else None

        def add(store: Store) -> StoredWatch | None:
            if len(store.watches.ids(self._topic_name)) >= WATCHES_MAX:
                return None
            older = [log for log in store.feed.logs(self._topic_name) if log != ends.log]
            watch = StoredWatch(
                topic=self._topic_name,
                id=uuid.uuid4().hex,
                name=name,
                embedding=query.embedding.astype("<f4").tobytes(),
                encoder=encoder,
                max_distance=max_distance,
                webhook=webhook,
                filter=filter_text,
                secret=secrets.token_hex(32),
                start=WatchStart(
                    log=ends.log, offsets={str(p): end for p, end in sorted(ends.offsets.items())}, older=older
                ),
                image=None
                if shown is None
                else WatchImage(
                    width=shown.width,
                    height=shown.height,
                    bytes_sha256=query.bytes_sha256 or b"",
                    pixels_sha256=query.pixels_sha256 or b"",
                ),
                created_at_ms=int(self._clock() * 1000),
            )
            store.watches.add(watch, image)
            return watch

        created = await self._records.ask(add, WRITE_TIMEOUT_S)
        if created is None:
            raise ProblemError(
                409,
                "too-many-watches",
                f"There are {WATCHES_MAX} watches already. Delete one: `lookalike watches remove`.",
            )
        return created

    async def all(self) -> list[StoredWatch]:
        """All watches, oldest first.

        Raises:
            DependencyError: Cassandra did not answer.
        """
        return await self._records.ask(lambda store: store.watches.all(self._topic_name), WRITE_TIMEOUT_S)

    async def get(self, watch_id: str) -> StoredWatch:
        """One watch.

        Raises:
            DependencyError: Cassandra did not answer.
            ProblemError: 404 ``unknown-watch``.
        """
        found = await self._records.ask(lambda store: store.watches.read(self._topic_name, [watch_id]))
        if not found:
            raise ProblemError(
                404, "unknown-watch", f"There is no watch {watch_id[:100]!r}; GET /v1/watches lists all."
            )
        return found[0]

    async def image(self, watch_id: str) -> bytes:
        """A watch's query image as it was given.

        Raises:
            DependencyError: Cassandra did not answer.
            ProblemError: 404 ``unknown-watch`` or ``no-watch-image``.
        """
        watch = await self.get(watch_id)
        if watch.image is None:
            raise ProblemError(404, "no-watch-image", "This watch was made of an embedding; it has no image.")
        return await self._records.ask(lambda store: store.watches.read_image(watch_id), WRITE_TIMEOUT_S)

    async def delete(self, watch_id: str) -> None:
        """Delete a watch.

        Raises: as `get`.
        """
        await self.get(watch_id)
        await self._records.ask(
            lambda store: store.watches.delete(topic=self._topic_name, watch_id=watch_id), WRITE_TIMEOUT_S
        )

    async def newest(self) -> tuple[list[NumberedMatch], int, bool]:
        """As `NewestMatches.read`."""
        self._asked_s = anyio.current_time()
        return await anyio.to_thread.run_sync(self._newest.read)

    async def follow(self, after: int | None, is_closing: Callable[[], bool]) -> AsyncIterator[NumberedMatch]:
        """The matches from offset `after` on, as far as they are kept, or from now on."""
        next_offset = after
        while not is_closing():
            kept, end, is_complete = await self.newest()
            if next_offset is None or next_offset > end:
                next_offset = end if is_complete else None
            else:
                for numbered in kept:
                    if numbered.offset >= next_offset:
                        yield numbered
                next_offset = max(next_offset, end)
            await anyio.sleep(MATCHES_INTERVAL_S)

    async def close_idle(self, idle_s: float) -> None:
        """Let go of Kafka where nobody has asked for so long."""
        if anyio.current_time() - self._asked_s > idle_s:
            await self.stop()

    async def stop(self) -> None:
        """Let go of Kafka."""
        await anyio.to_thread.run_sync(self._newest.close)
        await anyio.to_thread.run_sync(self._topic.close)
