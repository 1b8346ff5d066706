"""Whole tables of the keyspace, row by row, as a backup reads and writes them."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from cassandra.concurrent import execute_concurrent
from cassandra.query import UNSET_VALUE

from gallery.store.session import CONCURRENT_REQUESTS, CassandraSession

# In the order in which a backup reads them: a row of the feed is read before what it promises, which is there by then.
TABLES = (
    "collections",
    "logs",
    "distinct_images",
    "watch_progress",
    "watches",
    "watch_images",
    "feed",
    "records",
    "originals",
)
_PAGE_ROWS = {"records": 64, "originals": 16, "watch_images": 16}
_PAGE_ROWS_USUAL = 512
_ROWS_AT_ONCE = 64


class Tables:
    """Reads and writes whole tables. Every method raises DependencyError when Cassandra fails it."""

    def __init__(self, session: CassandraSession) -> None:
        self._session = session

    def columns(self, table: str) -> dict[str, str]:
        """The types of a table's columns, by name."""
        with self._session.asked("reading the schema") as driver:
            found = driver.execute(
                "SELECT column_name, type FROM system_schema.columns WHERE keyspace_name = %s AND table_name = %s",
                (driver.keyspace, table),
            )
            return dict(sorted(found))

    def rows(self, table: str, names: Sequence[str]) -> Iterator[list[Any]]:
        """Every row, with the values of these columns; a text that is not UTF-8 becomes one that nothing takes for an id or JSON."""
        types = self.columns(table)
        keys = self._keys(table)
        asked = [f"textAsBlob({n}) AS {n}" if types[n] == "text" and n not in keys else n for n in names]
        is_text = [types[n] == "text" and n not in keys for n in names]
        statement = self._session.prepare(f"SELECT {', '.join(asked)} FROM {table}")
        statement.fetch_size = _PAGE_ROWS.get(table, _PAGE_ROWS_USUAL)
        with self._session.asked(f"reading {table}") as driver:
            for row in driver.execute(statement):
                yield [_text(value) if text else value for value, text in zip(row, is_text, strict=True)]

    def write(self, table: str, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
        """Write rows; returns how many, once all are durable."""
        marks = ", ".join("?" for _ in names)
        statement = self._session.prepare(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})")
        found, count = iter(rows), 0
        while part := list(islice(found, _ROWS_AT_ONCE)):
            values = [[UNSET_VALUE if value is None else value for value in row] for row in part]
            with self._session.asked(f"writing {table}") as driver:
                execute_concurrent(driver, [(statement, row) for row in values], concurrency=CONCURRENT_REQUESTS)
            count += len(part)
        return count

    def _keys(self, table: str) -> set[str]:
        with self._session.asked("reading the schema") as driver:
            found = driver.execute(
                "SELECT column_name, kind FROM system_schema.columns WHERE keyspace_name = %s AND table_name = %s",
                (driver.keyspace, table),
            )
            return {name for name, kind in found if kind != "regular"}


def _text(blob: bytes | None) -> str | None:
    if blob is None:
        return None
    try:
        return blob.decode()
    except UnicodeDecodeError:
        return f"\0{blob!r}"
