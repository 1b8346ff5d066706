"""Imports go down only."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = {
    "contract": set(),
    "model": {"contract"},
    "gallery": {"contract"},
    "producers": {"contract", "model"},
    "workers": {"contract", "model", "gallery"},
    "api": {"contract", "model", "gallery"},
    "stack": {"contract", "model", "gallery", "producers", "workers", "api"},
    "bench": {"contract", "model", "gallery", "producers", "workers", "api", "stack"},
}
EXCEPTIONS = {("api", "producers.publisher"), ("api", "producers.topics"), ("workers", "producers.topics")}


def imported_modules(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("folder", LAYERS)
def test_folder_imports_only_what_lies_below_it(folder: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in (ROOT / folder).rglob("*.py")
        for module in imported_modules(path)
        if (top := module.split(".")[0]) in LAYERS
        and top not in LAYERS[folder] | {folder}
        and (folder, module) not in EXCEPTIONS
    ]
    assert not wrong
