"""Neighbours as a table for a terminal: at most 80 columns, plain text."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence

from lookalike_client.answers import WHOLE, Answer, Edit, Neighbour

ID_WIDTH = 30
METADATA_WIDTH = 32
_UNITS = {"°": "°", "×": "×"}


def neighbours_table(answer: Answer, shown_max: int | None = None) -> str:
    """The matches, or the nearest `shown_max` of them, one a line, and what the answer covers."""
    head = f"{'#':>3}  {'distance':>9}  {'id':<{ID_WIDTH}}  metadata"
    lines = []
    for rank, match in enumerate(answer.matches[:shown_max], 1):
        lines.append(f"{rank:>3}  {match.distance:>9.4f}  {_fitted(match.id, ID_WIDTH):<{ID_WIDTH}}  {_notes(match)}")
        if match.verdict == "altered copy":
            lines.append(_fitted(f"{'':16}altered copy{_sureness(match)}: {edits_in_words(match.edits or [])}", 80))
    coverage, timing = answer.coverage, answer.timing_ms
    missing = f"; without {', '.join(answer.degraded)}" if answer.degraded else ""
    then = f" as of {_fitted(coverage.as_of, 24)}" if coverage.as_of else ""
    foot = (
        f"exact over {coverage.count} images{then}, generation {coverage.generation}, {timing['total']:.1f} ms{missing}"
    )
    return "\n".join([head, *(line.rstrip() for line in lines), foot])


def edits_in_words(edits: Sequence[Edit]) -> str:
    """Edits with their amounts, such as `rotation 12.1°, noise 0.11 of white`."""
    return ", ".join(
        f"{e.name} {e.amount:.3g}{_UNITS.get(e.unit, ' ' + e.unit)}" if e.unit else e.name for e in edits
    ) or ("nothing that can be named")


def _sureness(match: Neighbour) -> str:
    return "" if match.confidence is None else f" ({match.confidence:.0%})"


def _notes(match: Neighbour) -> str:
    mark = "same bytes " if match.same_bytes else "same pixels " if match.same_pixels else ""
    if match.truncated:
        mark += "truncated "
    if match.larger:
        mark += f"larger ×{match.larger:.3g} "
    if match.hypothesis not in (None, WHOLE):
        mark += f"{match.hypothesis} "
    metadata = " ".join(
        f"{name}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for name, value in (match.metadata or {}).items()
    )
    return _fitted(mark + metadata, METADATA_WIDTH)


def _fitted(text: str, width: int) -> str:
    """`text` cut to `width`, without what could steer a terminal or turn the direction of reading."""
    safe = "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c)[0] == "C" else c for c in text)
    return safe if len(safe) <= width else safe[: width - 1] + "…"
