"""A table of embeddings with Cassandra's own vector index: a row for each id, which says what the id means.

Rows are written with timestamps of the writer's, so that one that was taken over from can change nothing that its successor wrote.
A search asks one replica, as Cassandra wants it; where there are several, what it found is read again from most of them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from cassandra import ConsistencyLevel
from cassandra.cluster import Session
from cassandra.concurrent import execute_concurrent_with_args
from cassandra.query import PreparedStatement
from numpy.typing import NDArray

from gallery.store.session import CassandraSession

TABLE_PREFIX = "embeddings_"
# Cassandra's own bound of what one question to its vector index may ask for.
CANDIDATES_MAX = 1000
# So many facts of a filter are told to Cassandra; the others are asked of what it finds.
FACTS_MAX = 4
_CONCURRENT_READS = 64
# Cassandra fails a write whose vector it is to put into a graph that as many others are put into as it has processors, plus one.
_CONCURRENT_WRITES = 2
# A search that takes longer is told to come again.
_SEARCH_TIMEOUT_S = 5.0

_PLACE = "log_number, effective_ms, kpart, koffset, kafka_time"


@dataclass(frozen=True, slots=True)
class EmbeddingRow:
    """What an id means.

    Attributes:
        position: the fields of `gallery.generations.fold.Position`.
        embedding: float32 as little-endian bytes; None of a delete.
        metadata: "" without any, and where it was not asked for.
        facts: what of the metadata Cassandra can be asked for (gallery/table/facts.py).
        content: what the image counts for in the content digest; None of a delete.
        before: what the id counted for where this row is not covered yet; None for nothing.
    """

    image_id: str
    position: tuple[int, int, int, int, int]
    embedding: bytes | None = field(repr=False)
    metadata: str = ""
    facts: frozenset[int] = frozenset()
    content: bytes | None = None
    before: bytes | None = None


class EmbeddingTable:
    """One table. Thread-safe. Every method raises DependencyError when Cassandra fails it, InvalidRequest where there is no such table.

    Args:
        index_id: which names it.
        dimensions: of an embedding.
        asks_again: what a search found is read again: there are several replicas.
    """

    def __init__(self, session: CassandraSession, index_id: str, dimensions: int, *, asks_again: bool = False) -> None:
        self.name = f"{TABLE_PREFIX}{index_id}"
        self._session = session
        self._dimensions = dimensions
        self._asks_again = asks_again
        self._prepared: dict[str, PreparedStatement] = {}

    def create(self) -> None:
        """Make what is missing of it."""
        with self._session.asked("making a table of embeddings") as driver:
            driver.execute(
                f"CREATE TABLE IF NOT EXISTS {self.name} (image_id text PRIMARY KEY, v vector<float, {self._dimensions}>, "
                "log_number int, effective_ms bigint, kpart int, koffset bigint, kafka_time bigint, metadata text, "
                "facts set<bigint>, content blob, before blob)"
            )
            driver.execute(
                f"CREATE CUSTOM INDEX IF NOT EXISTS {self.name}_v ON {self.name} (v) USING 'StorageAttachedIndex' "
                "WITH OPTIONS = {'similarity_function': 'EUCLIDEAN'}"
            )
            driver.execute(
                f"CREATE CUSTOM INDEX IF NOT EXISTS {self.name}_facts ON {self.name} (VALUES(facts)) "
                "USING 'StorageAttachedIndex'"
            )

    def is_there(self) -> bool:
        """Whether there is such a table."""
        with self._session.asked("looking for a table of embeddings") as driver:
            found = driver.execute(
                "SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s AND table_name = %s",
                (driver.keyspace, self.name),
            )
            return found.one() is not None

    def drop(self) -> None:
        """Have it go, if it is there."""
        with self._session.asked("dropping a table of embeddings") as driver:
            driver.execute(f"DROP TABLE IF EXISTS {self.name}")

    def write(self, rows: Iterable[EmbeddingRow], timestamp: int) -> None:
        """Write rows, over what carries an earlier timestamp; returns when all are durable."""
        statement = self._statement(
            f"INSERT INTO {self.name} (image_id, v, {_PLACE}, metadata, facts, content, before) "
            f"VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?"
        )
        statement.is_idempotent = False  # or a second node would be asked meanwhile, and two writes become four
        values = [
            (
                row.image_id,
                None if row.embedding is None else np.frombuffer(row.embedding, "<f4").tolist(),
                *row.position,
                row.metadata,
                row.facts or None,
                row.content,
                row.before,
                timestamp,
            )
            for row in rows
        ]
        with self._session.asked("writing embeddings") as driver:
            execute_concurrent_with_args(driver, statement, values, concurrency=_CONCURRENT_WRITES)

    def meanings(self, image_ids: Sequence[str]) -> dict[str, EmbeddingRow]:
        """Of those ids that have rows, what they mean, without embeddings and metadata."""
        statement = self._statement(f"SELECT image_id, {_PLACE}, content, before FROM {self.name} WHERE image_id = ?")
        with self._session.asked("reading what ids mean") as driver:
            found = self._each(driver, statement, image_ids)
        return {
            image_id: EmbeddingRow(image_id, tuple(place), None, content=content, before=before)
            for image_id, *place, content, before in found
        }

    def read(self, image_ids: Sequence[str], *, with_metadata: bool = False) -> list[EmbeddingRow]:
        """The rows of those ids that mean an image, in any order."""
        names = _names(with_metadata)
        statement = self._statement(f"SELECT {names} FROM {self.name} WHERE image_id = ?")
        with self._session.asked("reading embeddings") as driver:
            return _rows(self._each(driver, statement, image_ids))

    def nearest(
        self, query: NDArray[np.float32], n: int, facts: Sequence[int] = (), *, with_metadata: bool = False
    ) -> list[EmbeddingRow]:
        """About the n nearest rows to `query` (d,), in any order, of those that have all of these facts."""
        where = f"WHERE {' AND '.join(['facts CONTAINS ?'] * len(facts))} " if facts else ""
        names = "image_id" if self._asks_again else _names(with_metadata)
        statement = self._statement(f"SELECT {names} FROM {self.name} {where}ORDER BY v ANN OF ? LIMIT ?")
        statement.consistency_level = ConsistencyLevel.LOCAL_ONE
        with self._session.asked("searching embeddings") as driver:
            found = list(driver.execute(statement, (*facts, query.tolist(), n), timeout=_SEARCH_TIMEOUT_S))
        if self._asks_again:
            return self.read([image_id for (image_id,) in found], with_metadata=with_metadata)
        return _rows(found)

    def pages(self, page_rows: int, *, with_metadata: bool = False) -> Iterator[list[EmbeddingRow]]:
        """All rows that mean an image, so many of the table's at a time, in the order of the table."""
        statement = self._statement(f"SELECT {_names(with_metadata)} FROM {self.name}", f"pages of {page_rows}")
        statement.fetch_size = page_rows
        state = None
        while True:
            with self._session.asked("reading a table of embeddings") as driver:
                found = driver.execute(statement, paging_state=state)
                page, state = list(found.current_rows), found.paging_state
            yield _rows(page)
            if state is None:
                return

    def _each(self, driver: Session, statement: PreparedStatement, image_ids: Sequence[str]) -> Iterator[Any]:
        for _, found in execute_concurrent_with_args(
            driver, statement, [(image_id,) for image_id in image_ids], concurrency=_CONCURRENT_READS
        ):
            yield from found

    def _statement(self, text: str, name: str = "") -> PreparedStatement:
        if text + name not in self._prepared:
            self._prepared[text + name] = self._session.prepare(text)
        return self._prepared[text + name]


def _names(with_metadata: bool) -> str:
    return f"image_id, v, {_PLACE}, before{', metadata' if with_metadata else ''}"


def _rows(found: Iterable[Any]) -> list[EmbeddingRow]:
    """Rows with embeddings; those of deletes have none, and are left out."""
    rows = []
    for image_id, v, *rest in found:
        if v is not None:
            place, before, metadata = tuple(rest[:5]), rest[5], rest[6] if len(rest) > 6 else ""
            rows.append(EmbeddingRow(image_id, place, np.array(v, "<f4").tobytes(), metadata, before=before))
    return rows
