"""Tables of docs/reliability.md that tests make: printed, and written into it when LOOKALIKE_TABLES=docs/reliability.md says so."""

import os
import re
from collections.abc import Sequence
from pathlib import Path


def tell_table(name: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table, and put it between the marks of its name where a file is named."""
    lines = [columns, ["---"] * len(columns), *rows]
    table = "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
    print(f"\n{table}")
    if not (file := os.environ.get("LOOKALIKE_TABLES")):
        return
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    text = Path(file).read_text()
    assert begin in text and end in text, f"{file} has no place for {name}"
    written = re.sub(
        f"{re.escape(begin)}.*{re.escape(end)}", lambda _: f"{begin}\n{table}\n{end}", text, flags=re.DOTALL
    )
    Path(file).write_text(written)
