"""Results on disk: one JSON file a measurement, with the command that repeats it."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from contract.errors import ConfigurationError

RESULTS_DIR = Path(__file__).parent / "results"


def write_result(folder: Path, name: str, command: str, figures: dict[str, Any]) -> None:
    """Replace `folder`/`name`.json by what was measured just now."""
    folder.mkdir(parents=True, exist_ok=True)
    head = {"name": name, "command": command, "measured_at": datetime.now(UTC).isoformat(timespec="seconds")}
    fresh = folder / f"{name}.json.new"
    fresh.write_text(json.dumps({**head, **figures}, indent=1) + "\n")
    fresh.replace(folder / f"{name}.json")


def read_results(folder: Path) -> dict[str, dict[str, Any]]:
    """All results by name.

    Raises:
        ConfigurationError: there are none.
    """
    found = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    if not found:
        raise ConfigurationError(f"There are no results in {folder}. Measure first: `make bench`.")
    return found
