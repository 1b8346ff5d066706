"""The version of what our programs tell each other through Kafka: a header, which messages of lookalike 0.2 lack."""

from typing import Any

from contract.errors import NewerVersionError
from contract.messages import REJECTION_HEADER_PREFIX

VERSION_HEADER = f"{REJECTION_HEADER_PREFIX}version"
# Of rejected records and of matches: raised where an older program would misread one. What is only added needs no new number.
MESSAGE_VERSION = 1


def version_header() -> tuple[str, bytes]:
    """The header that each message of ours carries."""
    return VERSION_HEADER, str(MESSAGE_VERSION).encode()


def check_version(record: Any) -> None:
    """Return when this version can read a record; one that no program of ours wrote is its reader's to see.

    Raises:
        NewerVersionError: a newer version wrote it.
    """
    told = dict(record.headers).get(VERSION_HEADER) or b""
    if told.isdigit() and len(told) < 10 and int(told) > MESSAGE_VERSION:
        place = f"record {record.partition}:{record.offset} of {record.topic}"
        raise NewerVersionError("kafka", place, int(told), MESSAGE_VERSION)
