"""Imports go down only."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BOTTOM = {"contract", "runtime"}
GALLERY = {
    "gallery",
    "gallery.store",
    "gallery.generations",
    "gallery.table",
    "gallery.nearest",
    "gallery.duplicates",
    "gallery.backup",
}
API = {"api", "api.access", "api.routes", "api.live", "api.answers"}
# What an encoder is and does with a picture; how one is made, model.training, is not in the container's image.
MODEL = {"model", "model.pictures", "model.verdicts", "model.networks"}
CLIENT = {"lookalike_client"}
# Where rooms lie elsewhere than their names say.
FOLDERS = {"lookalike_client": "clients/python/lookalike_client"}
ALL = (
    BOTTOM
    | GALLERY
    | API
    | MODEL
    | {
        "model.training",
        "topics",
        "producers",
        "workers",
        "workers.audit",
        "workers.embedder",
        "workers.watcher",
        "stack",
    }
)
# Each room with those that its files may import. A room is a folder, or one of the folders that a large one is divided into.
ROOMS = {
    "contract": set(),
    "runtime": {"contract"},
    "topics": BOTTOM,
    "model.pictures": BOTTOM | {"model"},
    "model.verdicts": BOTTOM | {"model", "model.pictures"},
    "model.networks": BOTTOM | {"model", "model.pictures"},
    "model.training": BOTTOM | MODEL,
    "model": BOTTOM | MODEL | {"model.training"},
    "gallery.nearest": BOTTOM,
    "gallery.store": BOTTOM,
    "gallery.generations": BOTTOM | {"gallery.nearest", "gallery.store"},
    "gallery.table": BOTTOM | {"gallery.generations", "gallery.store"},
    "gallery.duplicates": BOTTOM | {"gallery.generations", "gallery.store"},
    # Beside what Cassandra holds, a backup has what Kafka alone holds.
    "gallery.backup": BOTTOM | {"gallery.generations", "gallery.store", "topics", "model"},
    # Their command lines ask a running API, as its users do; what answers does not know its client. A collection is made of a topic
    # and an encoder beside what is stored.
    "gallery": BOTTOM | GALLERY | CLIENT | {"topics", "model"},
    "producers": BOTTOM | {"topics", "model"},
    "workers.embedder": BOTTOM | GALLERY | MODEL | {"topics"},
    "workers.watcher": BOTTOM | GALLERY | MODEL | {"topics"},
    # What the embedder makes of a record is derived again by the embedder's own rules.
    "workers.audit": BOTTOM | GALLERY | MODEL | {"topics", "workers.embedder"},
    "workers": BOTTOM | GALLERY | MODEL | {"topics", "workers.audit", "workers.embedder", "workers.watcher"},
    "api.answers": BOTTOM | GALLERY | MODEL | {"topics"},
    "api.access": BOTTOM | {"api.answers"},
    "api.live": BOTTOM | GALLERY | MODEL | {"topics", "api.answers"},
    "api.routes": BOTTOM | GALLERY | MODEL | {"topics", "api.access", "api.answers", "api.live"},
    "api": BOTTOM | GALLERY | MODEL | API | CLIENT | {"topics"},
    "lookalike_client": set(),
    "stack": ALL | CLIENT,
    "bench": ALL | CLIENT | {"bench.capacity"},
    # Sizes are made of results alone: nothing that runs is needed.
    "bench.capacity": BOTTOM | {"bench", "workers", "workers.embedder"},
    "commands": ALL | CLIENT | {"bench"},
}


def room_of(module: str) -> str | None:
    """The innermost room that a module lies in; None for what is not ours."""
    parts = module.split(".")
    return next((room for n in (2, 1) if (room := ".".join(parts[:n])) in ROOMS), None)


def imported_modules(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_room_imports_only_what_lies_below_it(room: str) -> None:
    folder = ROOT / FOLDERS.get(room, room.replace(".", "/"))
    paths = [
        path
        for path in folder.rglob("*.py")
        if room_of(".".join((room, *path.relative_to(folder).with_suffix("").parts))) == room
    ]
    assert paths
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in paths
        for module in imported_modules(path)
        if room_of(module) not in ROOMS[room] | {room, None}
    ]
    assert not wrong


def test_the_judge_of_histories_shares_nothing_with_what_it_judges_but_the_encoder() -> None:
    paths = (ROOT / "tests" / "history").glob("*.py")
    imported = {module for path in paths for module in imported_modules(path) if room_of(module) is not None}
    assert imported == {"model", "model.encoder", "model.pictures.images"}
