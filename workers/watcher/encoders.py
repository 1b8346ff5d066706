"""The encoder that answers in a collection, which embeds its watches anew when it changes."""

import structlog

from contract.settings import Settings
from gallery.generations.serving import ServingFile
from model.encoder import load_encoder
from model.pictures.decoder import Decoder
from model.verdicts.frames import Kind

logger = structlog.get_logger()


class AnsweringEncoder:
    """An encoder by its name; starts a child process when it embeds for the first time.

    Attributes:
        kind: of pictures that it knows.
    """

    def __init__(self, settings: Settings, name: str) -> None:
        loaded = load_encoder(name, settings.encoders_dir)
        self.name, self.fingerprint, self.dimensions = name, loaded.fingerprint, loaded.dimensions
        self.kind: Kind = "digits" if loaded.card["knows_drawings"] else "photographs"
        self._decoder = Decoder(name, encoders_dir=settings.encoders_dir, accept_truncated=settings.accept_truncated)

    def embed(self, value: bytes) -> bytes | None:
        """An image's embedding as little-endian float32 bytes, None when it cannot be embedded.

        Raises:
            DependencyError: a child cannot be started.
        """
        found = self._decoder.decode([value]).images[0]
        if found.reason:
            logger.error("watch cannot be embedded", reason=found.reason, detail=found.detail)
            return None
        return found.embedding

    def close(self) -> None:
        """End the child."""
        self._decoder.close()


class AnsweringEncoders:
    """Says which encoder answers in a collection, the same object as long as it is the same one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._serving = ServingFile(settings.index_dir, settings.encoder)
        self._current: AnsweringEncoder | None = None

    def current(self) -> AnsweringEncoder:
        """The encoder that answers now.

        Raises:
            IndexDamagedError: the file that names it cannot be read.
            ConfigurationError: there is no such encoder.
        """
        name = self._serving.current().encoder
        if self._current is None or self._current.name != name:
            self.close()
            self._current = AnsweringEncoder(self._settings, name)
        return self._current

    def close(self) -> None:
        """End its child."""
        if self._current is not None:
            self._current.close()
            self._current = None
