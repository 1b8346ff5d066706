"""Every symptom in docs/operations.md says which test tries its remedy, or when somebody did by hand."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEADER = "| symptom | check | remedy | tried by |"
TRIED = re.compile(r"(?:`test_\w+`(?:, `test_\w+`)*|by hand: \d{4}-\d\d-\d\d)")


def rows() -> list[str]:
    """Of all tables of symptoms."""
    text = (ROOT / "docs" / "operations.md").read_text()
    assert not re.findall(r"^\| symptom \| check \| remedy \|$", text, re.MULTILINE), (
        "a table without its fourth column"
    )
    tables = re.findall(rf"^{re.escape(HEADER)}\n\|---\|---\|---\|---\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert len(tables) == text.count("| symptom |")
    return [row for table in tables for row in table.splitlines()]


ROWS = rows()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2:40])
def test_row_says_who_tried_its_remedy(row: str) -> None:
    tried = row.removesuffix(" |").rpartition(" | ")[2]
    assert TRIED.fullmatch(tried)


def test_tests_that_are_named_exist() -> None:
    files = [path for path in (ROOT / "tests").rglob("test_*.py") if "node_modules" not in path.parts]
    known = {
        name for path in files for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    named = {name for row in ROWS for name in re.findall(r"`(test_\w+)`", row.rpartition(" | ")[2])}
    assert len(named) > 40 and named - known == set()
