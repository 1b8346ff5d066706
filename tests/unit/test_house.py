"""What keeps the code easy to find one's way in: short modules, one meaning a name, one list of folders.

That public names have docstrings, and functions few branches, ruff checks (pyproject.toml).
"""

import ast
import re
import tomllib
from collections import defaultdict
from pathlib import Path

import contract.errors
from tests.unit.test_layers import ROOMS

ROOT = Path(__file__).parents[2]
FOLDERS: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["files"]
NOT_SHIPPED = {"stack", "bench", "commands", "tests"}
LINES_MAX = 300
# Names that several modules define, all for the same purpose.
SHARED_NAMES = {
    "main": "what a command line runs",
    "run": "what a program does until it is stopped",
    "logger": "each module's own",
    "router": "each module's own routes",
    "RECIPE": "looked up in the module of each encoder that can be trained",
    "T": "any type",
    "VERBS": "the verbs of each folder's command line",
    "Edit": "one of an answer, in the API and in its client, which does not import it",
    "Effort": "the same",
    "Sort": "the same",
    "WHOLE": "the same: the hypothesis that says nothing",
}


def python_files(*folders: str) -> list[Path]:
    return sorted(
        path for folder in folders for path in (ROOT / folder).rglob("*.py") if "node_modules" not in path.parts
    )


def public_names(path: Path) -> set[str]:
    """Classes, functions and constants that a module defines for others."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        found |= {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    return {name for name in found if not name.startswith("_")}


def test_no_module_is_longer_than_a_reader_follows() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in python_files(*FOLDERS)}
    assert not {str(path.relative_to(ROOT)): n for path, n in lengths.items() if n > LINES_MAX}


def test_no_public_name_stands_for_two_things() -> None:
    """In what is no measurement or test. What an encoder's folder holds belongs to that encoder, and never changes."""
    modules = defaultdict(list)
    for path in python_files(*FOLDERS):
        if path.parts[len(ROOT.parts)] not in {"bench", "tests"} and "encoders" not in path.parts:
            for name in public_names(path):
                modules[name].append(str(path.relative_to(ROOT)))
    several = {name: where for name, where in sorted(modules.items()) if len(where) > 1}
    assert not {name: where for name, where in several.items() if name not in SHARED_NAMES}
    assert several.keys() >= SHARED_NAMES.keys(), "a name that is not shared any more"


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
