"""Which collections this process embeds, and what each needs for that. Everything here blocks."""

import threading
from collections.abc import Callable
from collections.abc import Collection as Names

import structlog

from contract.collections import Collection, served_collections, settings_of
from contract.errors import ConfigurationError
from contract.settings import Settings
from gallery.store.store import Store
from model.encoder import load_encoder
from model.pictures.decoder import Decoder
from model.pictures.decoders import Decoders
from runtime.retrying import retrying
from topics.batch_publisher import BatchPublisher
from topics.topic import Topic
from topics.topic_admin import TopicAdmin
from workers.embedder.batch import BatchEmbedder
from workers.embedder.served import Served

logger = structlog.get_logger()


class Opener:
    """Reads the registry, and opens collections: they share the store, the admin client, and the decoders of each encoder.

    Args:
        names: of the collections to embed; none are all that there are.
        clock: seconds, never going back.
        stop: set when the process is to end.
    """

    def __init__(
        self, settings: Settings, store: Store, *, names: Names[str], clock: Callable[[], float], stop: threading.Event
    ) -> None:
        self._settings = settings
        self._store = store
        self._names = names
        self._clock = clock
        self._stop = stop
        self._admin = TopicAdmin(settings)
        self._decoders: dict[str, Decoders] = {}
        self._told: dict[str, str] = {}

    def wanted(self) -> dict[str, Collection]:
        """The collections that this process is to embed now, by name.

        Raises:
            DependencyError: Cassandra did not answer.
        """
        there = served_collections(self._settings, self._store.registry.collections(), self._names)
        for name in sorted(set(self._names) - there.keys()):
            self._tell(name, "There is no such collection. It is embedded once it was created.")
        return there

    def starting_order(self, collection: Collection) -> tuple[bool, str]:
        """First those whose encoder has its child process, then by encoder."""
        return collection.encoder not in self._decoders, collection.encoder

    def open(self, collection: Collection) -> Served | None:
        """What is needed to embed a collection; None while that cannot be done, which the log says once.

        Raises:
            DependencyError: Kafka or Cassandra did not answer.
        """
        try:
            served = self._opened(collection)
        except ConfigurationError as error:
            self._tell(collection.name, str(error))
            return None
        self._told.pop(collection.name, None)
        return served

    def check(self, collection: Collection) -> None:
        """Raise ConfigurationError unless a collection can be embedded."""
        self._topic(collection).check()

    def logs(self, topics: Names[str]) -> dict[str, str]:
        """The logs of these topics now, without those that are not there.

        Raises:
            DependencyError: Kafka did not answer.
        """
        return self._admin.logs(topics)

    def check_store(self) -> None:
        """Ask Cassandra something small, once; raises DependencyError without an answer."""
        self._store.feed.logs(self._settings.kafka_topic)

    def close(self) -> None:
        """End the decoders' children."""
        for decoders in self._decoders.values():
            decoders.close()

    def _opened(self, collection: Collection) -> Served:
        settings = settings_of(self._settings, collection)
        fingerprint = load_encoder(settings.encoder, settings.encoders_dir).fingerprint
        topic = self._topic(collection)
        log = topic.check()
        self._store.feed.add_log(topic=settings.kafka_topic, log=log)
        stop = threading.Event()
        embedder = BatchEmbedder(
            collection=collection.name,
            log=log,
            fingerprint=fingerprint,
            topic=topic,
            store=self._store,
            decoders=self._decoders_of(settings),
            rejected=BatchPublisher(settings, settings.rejected_topic),
            clock=self._clock,
            stop=stop,
        )
        logger.info("embedding", collection=collection.name, log=log, encoder=fingerprint)
        return Served(collection, embedder, topic=settings.kafka_topic, stop=stop, count_max=settings.batch_images_max)

    def _topic(self, collection: Collection) -> Topic:
        return Topic(settings_of(self._settings, collection), self._admin)

    def _decoders_of(self, settings: Settings) -> Decoders:
        """The encoder's decoders, with a child started, so that neither the first image nor other collections wait for it."""
        decoders = self._decoders.get(settings.encoder)
        if decoders is None:
            decoders = open_decoders(settings)
            retrying(lambda: decoders.decode([]), "decoder", self._stop)
            self._decoders[settings.encoder] = decoders
        return decoders

    def _tell(self, name: str, why: str) -> None:
        if self._told.get(name) != why:
            self._told[name] = why
            logger.warning("not embedded for now", collection=name, detail=why)


def open_decoders(settings: Settings) -> Decoders:
    """Of the encoder that the settings name; no child is started yet."""
    return Decoders(
        lambda memory_limit_bytes: Decoder(
            settings.encoder,
            encoders_dir=settings.encoders_dir,
            accept_truncated=settings.accept_truncated,
            memory_limit_bytes=memory_limit_bytes,
        ),
        settings.decoders,
    )
