"""The version of the schema: applied by whoever is newest, and refused by programs that are too old for what is there.

`schema_versions` has a row for each version that was ever applied, with the oldest version whose programs may still be used. An
upgrade only adds, so programs of several versions may run on one keyspace while they are replaced, in any order.

Only what is missing is made, so that a program need not be allowed to make what is there.
"""

import re
from pathlib import Path

from cassandra.cluster import Session
from cassandra.metadata import KeyspaceMetadata

from contract.errors import ConfigurationError

# Raise the first with every change of schema.cql. Raise the second to the same number only where an older program would misread
# what is written from then on, or leave out what must be written. 1 is what lookalike 0.2 makes, which has no table of versions.
SCHEMA_VERSION = 5
SCHEMA_OLDEST = 1

_TABLE = re.compile(r"CREATE TABLE IF NOT EXISTS (\w+)")
_COLUMN = re.compile(r"ALTER TABLE (\w+) ADD IF NOT EXISTS (\w+)")
_INDEX = re.compile(r"CREATE INDEX IF NOT EXISTS (\w+)")


def apply_schema(driver: Session, keyspace: str) -> None:
    """Make what is missing of the schema, unless a newer version has made it already.

    Raises:
        ConfigurationError: this program is too old for the keyspace.
    """
    versions, *statements = schema_statements()
    there = driver.cluster.metadata.keyspaces.get(keyspace)
    if not is_there(versions, there):
        driver.execute(versions)
    version, oldest = max(driver.execute("SELECT version, oldest FROM schema_versions"), default=(1, 1))
    if oldest > SCHEMA_VERSION:
        raise ConfigurationError(
            f"Keyspace {keyspace} has a schema of version {version}, which programs that know version {oldest} or a later one may "
            f"use; this one knows version {SCHEMA_VERSION}. Start it from a newer version of lookalike, or name another keyspace."
        )
    if version > SCHEMA_VERSION:
        return
    missing = [statement for statement in statements if not is_there(statement, there)]
    for statement in missing:
        driver.execute(statement)
    if missing or version < SCHEMA_VERSION:
        # Last: a program that finds the row need not ask what is there.
        driver.execute(
            "INSERT INTO schema_versions (version, oldest) VALUES (%s, %s)",
            (SCHEMA_VERSION, max(oldest, SCHEMA_OLDEST)),
        )


def is_there(statement: str, keyspace: KeyspaceMetadata | None) -> bool:
    """Whether what a statement makes is there already.

    Args:
        keyspace: as Cassandra describes it; None where it is new.
    """
    if keyspace is None:
        return False
    if found := _TABLE.match(statement):
        return found[1] in keyspace.tables
    if found := _COLUMN.match(statement):
        return found[1] in keyspace.tables and found[2] in keyspace.tables[found[1]].columns
    if found := _INDEX.match(statement):
        return found[1] in keyspace.indexes
    return False


def schema_statements() -> list[str]:
    """The statements of schema.cql, without comments; the first makes the table of versions."""
    text = Path(__file__).with_name("schema.cql").read_text()
    code = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    return [statement.strip() for statement in code.split(";") if statement.strip()]
