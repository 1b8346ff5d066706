"""The tree of exceptions in contract/errors.py is the tree in the code."""

import ast
import builtins
from pathlib import Path

from contract import errors

ROOT = Path(__file__).parents[2]
FOLDERS = [path.parent for path in ROOT.glob("*/__init__.py")]


def drawn_tree() -> dict[str, str]:
    """Each exception that the docstring draws, with the one that it hangs from."""
    found = {}
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        stem = line.lstrip("│├└─ ")
        name = stem.split(" ")[0]
        if stem == "Exception" or line.startswith(("│", "├", "└")):
            depth = (len(line) - len(stem)) // 4
            above[depth:] = [name]
            if depth:
                found[name] = above[depth - 1]
    return found


def defined_exceptions() -> dict[str, str]:
    """Each exception that a module of ours defines, with its base."""
    bases = {
        node.name: {base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "") for base in node.bases}
        for folder in FOLDERS
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    }
    known = {
        name for name, each in vars(builtins).items() if isinstance(each, type) and issubclass(each, BaseException)
    }
    found: dict[str, str] = {}
    while more := {name: base for name, all_of in bases.items() for base in all_of & known if name not in found}:
        found |= more
        known |= more.keys()
    return found


def test_tree_of_exceptions_names_each_that_is_defined_and_its_base() -> None:
    assert {"LookalikeError": "Exception", "RejectedError": "LookalikeError"}.items() <= defined_exceptions().items()
    assert drawn_tree() == defined_exceptions()
