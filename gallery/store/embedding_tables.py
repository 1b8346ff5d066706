"""Who writes a table of embeddings, and what it covers: one row for each topic and encoder, changed by compare-and-set alone.

An indexer that takes a table over raises its epoch. Every later change names the epoch, so one that was taken over from cannot
change what is covered any more; and its rows carry older timestamps than those of whoever came after (gallery/table/writer.py).
"""

import time
from collections.abc import Callable, Set
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from contract.errors import LookalikeError
from gallery.store.embeddings import TABLE_PREFIX, EmbeddingTable
from gallery.store.session import CassandraSession

_COLUMNS = "epoch, holder, beat, generation, manifest, answers"


class _Named(msgspec.Struct):
    """What of a manifest names its table."""

    index_id: str


class TableTakenError(LookalikeError):
    """Another indexer has taken the table over."""


@dataclass(frozen=True)
class RegisteredTable:
    """A row.

    Attributes:
        epoch: how often the table was taken over.
        holder: of which index folder the indexer is that writes.
        beat: grows while that indexer lives.
        generation: how often what is covered was changed.
        manifest: of the table that is written, as JSON; "" where one is to be begun.
        answers: of the table that answers while another one is built anew; "" as a rule.
    """

    topic: str
    encoder: str
    epoch: int
    holder: str
    beat: int
    generation: int
    manifest: str
    answers: str

    @property
    def answering(self) -> str:
        """The manifest of the table that answers; "" where none does."""
        return self.answers or self.manifest


class EmbeddingTables:
    """The rows of all collections. Thread-safe. Every method raises DependencyError when Cassandra fails it.

    Args:
        session: to the store.
        clock: seconds since 1970.
    """

    def __init__(self, session: CassandraSession, clock: Callable[[], float] = time.time) -> None:
        self.session = session
        self._clock = clock
        where = "WHERE topic = ? AND encoder = ?"
        self._select = session.prepare(f"SELECT {_COLUMNS} FROM embedding_tables {where}")
        self._select_topic = session.prepare(f"SELECT encoder, {_COLUMNS} FROM embedding_tables WHERE topic = ?")
        self._select_manifests = session.prepare("SELECT manifest, answers FROM embedding_tables")
        self._insert = session.prepare(
            f"INSERT INTO embedding_tables (topic, encoder, {_COLUMNS}) VALUES (?, ?, 1, ?, ?, 0, '', '') IF NOT EXISTS"
        )
        self._take = session.prepare(
            f"UPDATE embedding_tables SET epoch = ?, holder = ?, beat = ? {where} IF epoch = ?"
        )
        self._beat = session.prepare(f"UPDATE embedding_tables SET beat = ? {where} IF epoch = ?")
        self._commit = session.prepare(
            f"UPDATE embedding_tables SET beat = ?, generation = ?, manifest = ?, answers = ? {where} "
            "IF epoch = ? AND generation = ?"
        )
        self._forget = session.prepare("DELETE FROM embedding_tables WHERE topic = ?")

    def find(self, topic: str, encoder: str) -> RegisteredTable | None:
        """The row of a topic and an encoder's fingerprint; None before an indexer made it."""
        with self.session.asked("reading what a table of embeddings covers") as driver:
            found = driver.execute(self._select, (topic, encoder)).one()
        return None if found is None else _registered(topic, encoder, found)

    def of_topic(self, topic: str) -> list[RegisteredTable]:
        """The rows of all encoders."""
        with self.session.asked("reading what tables of embeddings cover") as driver:
            return [
                _registered(topic, encoder, found) for encoder, *found in driver.execute(self._select_topic, (topic,))
            ]

    def take(self, topic: str, encoder: str, holder: str, known: RegisteredTable | None) -> RegisteredTable | None:
        """Become the one who writes; None where somebody else was quicker.

        Args:
            known: the row as it was found; None where there was none.
        """
        with self.session.asked("taking a table of embeddings") as driver:
            if known is None:
                driver.execute(self._insert, (topic, encoder, holder, self._now()))
            else:
                values = (known.epoch + 1, holder, self._now(), topic, encoder, known.epoch)
                driver.execute(self._take, values)
        # Asked instead of believed: a node that fell while it was asked may have done it, and another one was asked again.
        found = self.find(topic, encoder)
        is_mine = found is not None and (found.epoch, found.holder) == (known.epoch + 1 if known else 1, holder)
        return found if is_mine else None

    def beat(self, mine: RegisteredTable) -> RegisteredTable:
        """Tell that the writer lives.

        Raises:
            TableTakenError: another one writes by now.
        """
        told = replace(mine, beat=max(self._now(), mine.beat + 1))
        with self.session.asked("keeping a table of embeddings") as driver:
            driver.execute(self._beat, (told.beat, mine.topic, mine.encoder, mine.epoch))
        found = self.find(mine.topic, mine.encoder)
        if found is None or found.epoch != mine.epoch:
            raise _taken(mine)
        return told

    def commit(self, mine: RegisteredTable, manifest: str, answers: str) -> RegisteredTable:
        """Say that the table covers what `manifest` says. Doing it again with the same row and text changes nothing.

        Args:
            mine: the row as it was written last.

        Raises:
            TableTakenError: another one writes by now.
        """
        told = replace(
            mine,
            beat=max(self._now(), mine.beat + 1),
            generation=mine.generation + 1,
            manifest=manifest,
            answers=answers,
        )
        place = (mine.topic, mine.encoder)
        with self.session.asked("saying what a table of embeddings covers") as driver:
            values = (told.beat, told.generation, manifest, answers, *place, mine.epoch, mine.generation)
            is_done = driver.execute(self._commit, values).one()[0]
        if not is_done:  # by an earlier try of ours, whose answer was lost, or it is ours no longer
            found = self.find(*place)
            if found is None or (found.epoch, found.generation) != (mine.epoch, told.generation):
                raise _taken(mine)
            if found.manifest != manifest:
                return self.commit(found, manifest, answers)
        return told

    def start_anew(self, topic: str) -> None:
        """Have the indexers of a topic begin new tables; those that are there answer until these cover as much."""
        for found in self.of_topic(topic):
            taken = self.take(topic, found.encoder, "", found)
            if taken is not None:
                self.commit(taken, "", taken.answering)

    def table(self, index_id: str, dimensions: int, *, asks_again: bool = False) -> EmbeddingTable:
        """The table of an index, which need not be there yet. `asks_again` as `EmbeddingTable` takes it."""
        return EmbeddingTable(self.session, index_id, dimensions, asks_again=asks_again)

    def drop_unnamed(self) -> None:
        """Drop the tables that no row names: an indexer was killed before it came to that."""
        for index_id in self._index_ids() - self._named():
            self.table(index_id, 1).drop()

    def drop_all(self, topic: str) -> None:
        """Drop the tables of a topic, after it was forgotten that there are any, so that it can be repeated."""
        with self.session.asked("dropping tables of embeddings") as driver:
            driver.execute(self._forget, (topic,))
        self.drop_unnamed()

    def _index_ids(self) -> Set[str]:
        """Of the tables that there are in the keyspace."""
        with self.session.asked("listing tables of embeddings") as driver:
            found = driver.execute(
                "SELECT table_name FROM system_schema.tables WHERE keyspace_name = %s", (driver.keyspace,)
            )
            return {name.removeprefix(TABLE_PREFIX) for (name,) in found if name.startswith(TABLE_PREFIX)}

    def _named(self) -> Set[str]:
        """Of the tables that rows of any topic name."""
        with self.session.asked("listing tables of embeddings") as driver:
            texts = [text for row in driver.execute(self._select_manifests) for text in row if text]
        return {msgspec.json.decode(text, type=_Named).index_id for text in texts}

    def _now(self) -> int:
        return int(self._clock() * 1000)


def _registered(topic: str, encoder: str, row: Any) -> RegisteredTable:
    epoch, holder, beat, generation, manifest, answers = row
    return RegisteredTable(
        topic, encoder, epoch or 0, holder or "", beat or 0, generation or 0, manifest or "", answers or ""
    )


def _taken(mine: RegisteredTable) -> TableTakenError:
    return TableTakenError(
        f"The table of embeddings of {mine.topic} was taken over by another indexer, after {mine.generation} changes of this one."
    )
