"""Installs the checkers that exist for Node only, once for each lock file."""

import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


@pytest.fixture(scope="session")
def checkers() -> Path:
    """The folder with `node_modules`, which npm brings in on the first use."""
    lock, installed = FOLDER / "package-lock.json", FOLDER / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        done = subprocess.run(["npm", "ci"], cwd=FOLDER, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"npm ci in {FOLDER} failed; Node 20 and npm are needed.\n{done.stderr}"
    return FOLDER
