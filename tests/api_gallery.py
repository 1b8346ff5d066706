"""A gallery of real digits on disk, made without servers, and an API over it in this process."""

import contextlib
import hashlib
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import httpx
import numpy as np
import uvicorn
from numpy.typing import NDArray

from api.access.listening import tls_options
from api.app import create_app
from api.connections import BOUNDED_LOOP, BoundedProtocol, ConnectionLimits
from contract.record_key import RecordKey
from contract.settings import Settings, load_settings
from gallery.generations.next_base import build_base
from gallery.generations.writer import Writer
from gallery.store.rows import FeedRow, ImageRecord
from gallery.table.writer import TableWriter
from model import mnist
from model.encoder import load_encoder
from model.pictures.images import THUMBNAIL_SIDE_PX, decode
from tests.conftest import COMPILED_DIR

LOG = "images:api-test"


class Gallery:
    """An index folder that grows as the indexer would make it grow, on partition 0 of `log`."""

    def __init__(self, settings: Settings, log: str = LOG) -> None:
        self.log = log
        self.encoder = load_encoder(settings.encoder, settings.encoders_dir)
        self.writer = self._opened(settings)
        self.writer.set_logs([log])
        self.folder = settings.encoder_index_dir
        self.embeddings: dict[str, NDArray[np.float32]] = {}
        self.rows: list[FeedRow] = []

    def put(self, images: dict[str, bytes], metadata: Mapping[str, str] = MappingProxyType({})) -> None:
        """Index images under their ids, some with metadata, and publish a generation."""
        for image_id, value in images.items():
            embedding = self.encoder.embed(self.encoder.pixels(decode(value).image))
            self.embeddings[image_id] = embedding
            self._add("put", image_id, embedding.astype("<f4").tobytes(), metadata=metadata.get(image_id, ""))
        self._publish()

    def delete(self, image_id: str) -> None:
        """Delete an image and publish a generation."""
        del self.embeddings[image_id]
        self._add("delete", image_id, None)
        self._publish()

    def reject(self, reason: str) -> None:
        """Refuse a record and publish a generation."""
        self._add("reject", "", None, reason)
        self._publish()

    def take(self, rows: list[FeedRow]) -> None:
        """Take rows of an embedder, which must go on from the last one here, and publish a generation."""
        self.rows += rows
        self._publish()

    def rebuild(self, horizon_ms: int = 0) -> None:
        """Merge the tail into a new base; what was replaced before the horizon is dropped."""
        assert isinstance(self.writer, Writer)
        name, merged = self.writer.next_base_name(), self.writer.manifest.tail.entries
        build_base(self.folder, generation_name=self.writer.current_name(), base_name=name, horizon_ms=horizon_ms)
        self.writer.replace_base(name, merged)

    def nearest(self, query: NDArray[np.float32], k: int) -> list[tuple[str, float]]:
        """Brute force in float64, ties by id."""
        keyed = sorted(
            (float(np.linalg.norm(embedding.astype(np.float64) - query.astype(np.float64))), image_id.encode())
            for image_id, embedding in self.embeddings.items()
        )
        return [(image_id.decode(), distance) for distance, image_id in keyed[:k]]

    def _add(
        self, outcome: str, image_id: str, embedding: bytes | None, reason: str = "", *, metadata: str = ""
    ) -> None:
        offset = self.rows[-1].key.offset + 1 if self.rows else self.writer.manifest.offsets.get("0", 0)
        now_ms = time.time_ns() // 1_000_000
        place = RecordKey(self.log, 0, offset)
        self.rows.append(FeedRow(place, offset, outcome, reason, image_id, embedding, now_ms, metadata=metadata))  # type: ignore[arg-type]

    def _opened(self, settings: Settings) -> Writer | TableWriter:
        return Writer(settings.encoder_index_dir, self.encoder.fingerprint, self.encoder.dimensions)

    def _publish(self) -> None:
        covered = self.writer.manifest.offsets.get("0", 0)
        rows = [row for row in self.rows if row.key.offset >= covered]
        if isinstance(self.writer, TableWriter):
            self.writer.prefetch(rows)
        self.writer.stage(self.writer.fold.add(0, 0, rows))
        self.writer.publish()


def digit(number: int) -> bytes:
    """A test digit as PNG."""
    return mnist.png(mnist.images("test")[number])


def settings_for(folder: Path, **overrides: object) -> Settings:
    """Settings of an API whose servers are away."""
    away = {"kafka_bootstrap": "127.0.0.1:9", "cassandra_port": 9}
    folders = {"index_dir": folder / "index", "var_dir": folder, "compiled_dir": COMPILED_DIR}
    return load_settings(api_port=free_port(), **folders | away | overrides)


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def running_api(settings: Settings, limits: ConnectionLimits = BoundedProtocol.limits) -> Iterator[str]:
    """The API on its port, from a thread of this process; yields its address."""
    config = uvicorn.Config(
        create_app(settings),
        port=settings.api_port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=2,
        http=type("Protocol", (BoundedProtocol,), {"limits": limits}),
        loop=BOUNDED_LOOP,
        ws="none",
        **tls_options(settings),
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(
            lambda: server.started or not thread.is_alive(), "the API has started", 90.0
        )  # it may compile its search
        assert server.started
        yield settings.api_address
    finally:
        server.should_exit = True
        thread.join()


def answers(client: httpx.Client) -> bool:
    """Whether an API answers by now."""
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


def wait_until(holds: object, what: str, timeout_s: float = 20.0) -> None:
    """Poll until `holds()` is true."""
    assert callable(holds)
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.01)


def record(offset: int, image_id: str, value: bytes, *, thumbnail_side_px: int = THUMBNAIL_SIDE_PX) -> ImageRecord:
    """What the store holds of a PNG at an offset of partition 0."""
    picture = decode(value, thumbnail_side_px)
    return ImageRecord(
        RecordKey(LOG, 0, offset),
        image_id,
        "image/png",
        picture.width,
        picture.height,
        len(value),
        hashlib.sha256(value).digest(),
        picture.pixels_sha256,
        "",
        picture.thumbnail,
        None,
        0,
    )
