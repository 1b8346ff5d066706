"""The page's and the browser's packages from npm, installed once for each lock file."""

import subprocess
from pathlib import Path

BROWSER = Path(__file__).parent
WEB = Path(__file__).parents[2] / "web"


def install(folder: Path) -> Path:
    """`folder` with `node_modules` as its lock file says.

    Raises:
        AssertionError: npm failed.
    """
    lock, installed = folder / "package-lock.json", folder / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        run(["npm", "ci", "--ignore-scripts"], folder)
    return folder


def run(command: list[str], folder: Path) -> str:
    """What the command printed.

    Raises:
        AssertionError: it failed.
    """
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (
        f"{' '.join(command)} in {folder} failed; Node 20 and npm are needed.\n{done.stdout}\n{done.stderr}"
    )
    return done.stdout
