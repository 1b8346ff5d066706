"""The watcher's part for one collection: its watches, its matches, its webhooks."""

import time
from collections.abc import Iterator, Sequence

from contract.collections import Collection, settings_of
from contract.errors import ConfigurationError, DependencyError
from contract.settings import Settings
from gallery.store.store import Store
from gallery.store.watches import StoredWatch
from runtime.outbound import Outbound
from topics.matches import MatchPublisher, MatchReader, NumberedMatch, WatchMatch
from workers.watcher.delivery import ATTEMPT_S, send
from workers.watcher.encoders import AnsweringEncoders
from workers.watcher.following import WATCHES_INTERVAL_S, Following, Hit
from workers.watcher.selection import select_rows
from workers.watcher.verdicts import Verdicts
from workers.watcher.webhooks import Lanes, Webhooks


class TopicTeller:
    """Publishes matches to a collection's topic of them, and remembers which, for the webhooks."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._publisher = MatchPublisher(settings)
        self._reader: MatchReader | None = None
        self._told: list[NumberedMatch] = []

    def publish(self, matches: Sequence[WatchMatch]) -> list[int]:
        """Publish matches; returns the offset of each once all are durable."""
        offsets = self._publisher.publish(matches)
        self._told += map(NumberedMatch, offsets, matches)
        return offsets

    def end_offset(self) -> int:
        """Behind the last match that was published."""
        return self._opened().end_offset()

    def take_told(self) -> list[NumberedMatch]:
        """What was published since the last call."""
        told, self._told = self._told, []
        return told

    def read_from(self, offset: int) -> Iterator[NumberedMatch]:
        """The matches from an offset up to the end of now.

        Raises:
            DependencyError: Kafka failed, or was silent for long.
        """
        reader = self._opened()
        reader.seek(offset)
        yield from reader.read_to(reader.end_offset())

    def close(self) -> None:
        """Close the connections."""
        self._publisher.close()
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _opened(self) -> MatchReader:
        if self._reader is None:
            try:
                self._reader = MatchReader(self._settings, "lookalike-watcher")
            except ConfigurationError as error:  # somebody may create it in a moment
                raise DependencyError("kafka", str(error)) from error
        return self._reader


class WatchedCollection:
    """What the watcher does for one collection. Costs a question a second while it has no watches."""

    def __init__(self, settings: Settings, collection: Collection, store: Store, lanes: Lanes) -> None:
        own = settings_of(settings, collection)
        outbound = Outbound(allow_private=own.private_addresses, timeout_s=ATTEMPT_S)
        self._topic, self._store = own.kafka_topic, store
        self._encoders = AnsweringEncoders(own)
        self._teller = TopicTeller(own)
        self._verdicts: Verdicts | None = None
        self._following = Following(
            topic=own.kafka_topic,
            collection=collection.name,
            partitions=own.kafka_partitions,
            feed=store.feed,
            watches=store.watches,
            teller=self._teller,
            verdicts=self._verdicts_of,
            selects=select_rows,
        )
        self._webhooks = Webhooks(
            topic=own.kafka_topic,
            name=own.matches_topic,
            watches=store.watches,
            lanes=lanes,
            retry_s=own.webhook_retry_hours * 3600,
            send=lambda watch, body: send(outbound, watch.webhook, body, secret=watch.secret, time_s=int(time.time())),
        )
        self._has_begun = False
        self._looked = float("-inf")

    @property
    def watch_count(self) -> int:
        """How many watches were taken up."""
        return len(self._following.watches)

    def step(self) -> bool:
        """Tell of what is new, and send what is due; False when there was nothing new.

        Raises:
            DependencyError: nothing was lost, step again.
            IndexDamagedError, ConfigurationError: it cannot be told which encoder answers.
        """
        if not self._following.watches:
            if time.monotonic() - self._looked < WATCHES_INTERVAL_S:
                return False
            self._looked = time.monotonic()
            if not self._store.watches.ids(self._topic):
                return False
        watches: dict[str, StoredWatch] = self._following.watches
        try:
            advanced = self._following.step(self._encoders.current())
        finally:
            watches = self._following.watches
            told = self._teller.take_told()
            if self._has_begun:
                self._webhooks.offer(told, watches)
        if not self._has_begun and watches:
            # What this process has told by now is in the topic too.
            self._webhooks.begin(self._teller.read_from, watches)
            self._has_begun = True
        self._webhooks.pump(watches)
        return advanced

    def close(self) -> None:
        """Close the connections and end the children."""
        self._teller.close()
        self._encoders.close()
        if self._verdicts is not None:
            self._verdicts.close()

    def _verdicts_of(self, hits: Sequence[Hit]) -> list[str | None]:
        encoder = self._encoders.current()
        if self._verdicts is not None and self._verdicts.kind != encoder.kind:
            self._verdicts.close()
            self._verdicts = None
        if self._verdicts is None:
            self._verdicts = Verdicts(self._store.records, self._store.watches, kind=encoder.kind)
        return self._verdicts.of(hits)
