"""The gallery of tests/api_gallery.py kept in a table of embeddings on a real Cassandra, and an API over it."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import httpx

from contract.settings import Settings
from gallery.store.store import Store
from gallery.table.lease import Lease
from gallery.table.writer import TableWriter
from tests.api_gallery import LOG, Gallery, digit, running_api, wait_until
from tests.conftest import fresh_settings


class TableGallery(Gallery):
    """A table that grows as the indexer would make it grow, on partition 0 of `log`."""

    def __init__(self, settings: Settings, log: str = LOG) -> None:
        self.settings = settings
        self.store = Store.connect(settings)
        super().__init__(settings, log)

    def rebuild(self, horizon_ms: int = 0) -> None:
        """A table has no base."""

    def close(self) -> None:
        """Close the connection."""
        self.store.close()

    def _opened(self, settings: Settings) -> TableWriter:
        tables = self.store.embedding_tables
        lease = Lease(tables, settings.encoder_index_dir, settings.kafka_topic, self.encoder.fingerprint)
        mine = lease.try_take()
        assert mine is not None
        return TableWriter(tables, mine, self.encoder.fingerprint, self.encoder.dimensions)


@contextlib.contextmanager
def table_api(
    stack: Settings,
    folder: Path,
    count: int,
    metadata: Mapping[str, str] = MappingProxyType({}),
    name: str = "digit/{}",
) -> Iterator[tuple[TableGallery, httpx.Client]]:
    """A table with so many digits, and a client of an API that answers from it; Kafka is away."""
    settings = fresh_settings(
        stack, folder, engine="cassandra", kafka_bootstrap="127.0.0.1:9", recall_rows_per_s=100_000
    )
    with contextlib.closing(TableGallery(settings)) as gallery:
        gallery.put({name.format(i): digit(i) for i in range(count)}, metadata)
        with running_api(settings) as address, httpx.Client(base_url=address, timeout=60) as client:
            wait_until(lambda: client.get("/v1/index").status_code == 200, "the API knows what the table covers")
            yield gallery, client
