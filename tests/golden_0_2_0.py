"""What version 0.2.0 wrote and promised, as committed in tests/golden/0.2.0; `make.py` beside it says how it was made."""

import base64
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

GOLDEN = Path(__file__).with_name("golden") / "0.2.0"


def stored_rows() -> Iterator[tuple[str, str]]:
    """Every row of Cassandra: its table, and the row as Cassandra's own JSON."""
    for line in gzip.decompress((GOLDEN / "rows.jsonl.gz").read_bytes()).decode().splitlines():
        table, row = json.loads(line)
        yield table, row


def expected() -> Any:
    """What the API said of the index, and what it answered."""
    return json.loads((GOLDEN / "expected.json").read_text())


def rejected_messages() -> list[SimpleNamespace]:
    """What the rejected topic held."""
    found: list[SimpleNamespace] = []
    for line in (GOLDEN / "rejected.jsonl").read_text().splitlines():
        told = json.loads(line)
        headers = [(name, _bytes(value)) for name, value in told["headers"]]
        found.append(
            SimpleNamespace(
                key=_bytes(told["key"]), value=_bytes(told["value"]), headers=headers, timestamp=told["timestamp"],
                topic="images.rejected", partition=0, offset=len(found),
            )
        )  # fmt: skip
    return found


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)
