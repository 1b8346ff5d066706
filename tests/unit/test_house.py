"""What keeps the code easy to find one's way in: one list of folders, one tree of errors.

That public names have docstrings, and functions few branches, ruff checks (pyproject.toml).
"""

import re
import tomllib
from pathlib import Path

import contract.errors
from tests.unit.test_layers import ROOMS

ROOT = Path(__file__).parents[2]
FOLDERS: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["files"]
NOT_SHIPPED = {"stack", "bench", "commands", "tests"}


def python_files(*folders: str) -> list[Path]:
    return sorted(
        path for folder in folders for path in (ROOT / folder).rglob("*.py") if "node_modules" not in path.parts
    )


def test_the_tree_of_errors_shows_every_exception() -> None:
    defined = {
        name for path in python_files(*FOLDERS) for name in re.findall(r"^class (\w+Error)\(", path.read_text(), re.M)
    }
    assert set(re.findall(r"\w+Error", contract.errors.__doc__ or "")) == defined


def test_every_folder_with_code_is_listed() -> None:
    """In pyproject.toml, for mypy and for this test."""
    tracked = {path.parent.name for path in ROOT.glob("*/*.py")}
    assert tracked | {"clients/python"} == set(FOLDERS)


def test_every_folder_has_its_place_among_the_layers() -> None:
    rooms = {room.partition(".")[0] for room in ROOMS}
    assert rooms - {"lookalike_client"} == set(FOLDERS) - {"clients/python", "tests"}


def test_the_image_holds_every_folder_that_ships() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    shipped = {folder.removesuffix("/lookalike_client") for folder in kept}
    assert shipped & set(FOLDERS) == set(FOLDERS) - NOT_SHIPPED
