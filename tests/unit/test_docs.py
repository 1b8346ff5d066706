"""The docs name what exists, and what exists is in the docs. As simonw/sqlite-utils does in its tests/test_docs.py."""

import ast
import contextlib
import importlib
import importlib.util
import io
import itertools
import re
import sys
from functools import cache
from pathlib import Path

import pytest

from commands.__main__ import PROGRAM
from contract.settings import PREFIX, Settings, load_settings

ROOT = Path(__file__).parents[2]
# What is true now.
PAGES = sorted(
    [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("docs/pictures/*.md"),
        *ROOT.glob("clients/*/README.md"),
    ]
)
# What was true when it was written: names in them may be gone, links must hold.
HISTORY = sorted([ROOT / "CHANGELOG.md", *ROOT.glob("docs/decisions/*.md"), *ROOT.glob("model/encoders/*/*.md")])
ALL = [*PAGES, *HISTORY]
TEXTS = {page: page.read_text() for page in ALL}

# Verbs of `lookalike`, each with what it runs of `python -m …`; all that follows is handed on.
VERBS = {
    "up": "stack up",
    "down": "stack down",
    "status": "stack status",
    "logs": "stack logs",
    "demo": "stack demo",
    "fetch": "stack fetch",
    "wipe": "stack wipe",
    "topics": "producers topics",
    "publish": "producers",
    "search": "api search",
    "watches": "api watches",
    **{verb: f"workers {verb}" for verb in ("embedder", "indexer", "watcher", "audit", "verify")},
    **{verb: f"workers {verb}" for verb in ("rejected", "duplicates")},
    **{
        verb: f"gallery {verb}"
        for verb in ("watch", "stats", "promote", "rollback", "collections", "backup", "restore")
    },
    "serve": "api serve",
    "keys": "api keys",
    "train": "model train",
    "export": "model export",
    "import": "model import",
    "evaluate": "model evaluate",
    "bench": "bench",
    "capacity": "bench capacity",
    "completion": "commands completion",
    "--version": "",
}
FOLDERS = ("stack", "producers", "workers", "gallery", "api", "model", "bench")
# Variables that are no settings, with the file that reads them.
OTHER_VARIABLES = {
    "LOOKALIKE_API_KEY": "clients/python/lookalike_client/requests.py",
    "LOOKALIKE_API_KEY_FILE": "clients/python/lookalike_client/requests.py",
    "LOOKALIKE_FAILPOINTS": "runtime/failpoints.py",
    "LOOKALIKE_PLANTED": "runtime/planted.py",
    **dict.fromkeys(("LOOKALIKE_TEST_SEED", "LOOKALIKE_TEST_RUNNING"), "tests/conftest.py"),
    "LOOKALIKE_PICTURES": "tests/browser/driver.py",
    "LOOKALIKE_TABLES": "tests/tables.py",
}
WIDTH = 100


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def code_of(text: str) -> list[str]:
    """Lines of fenced blocks, a command that goes on behind a backslash as one, and all spans between backquotes."""
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in fenced for line in block.replace("\\\n", " ").splitlines()]
    prose = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [*lines, *(" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose))]


CODE = {page: code_of(TEXTS[page]) for page in PAGES}
SPANS = list(dict.fromkeys(itertools.chain(*CODE.values())))


@cache
def help_of(command: str) -> str:
    """What `python -m COMMAND --help` prints; AssertionError when there is no such command."""
    folder, *verbs = command.split()
    said, argv = io.TextIOWrapper(io.BytesIO(), "utf-8"), sys.argv
    sys.argv = [folder, *verbs, "--help"]
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), pytest.raises(SystemExit) as ended:
            importlib.import_module(f"{folder}.__main__").main()
    finally:
        sys.argv = argv
    said.seek(0)
    text = said.read()
    assert ended.value.code in (0, None), f"python -m {command}: {text}"
    return text


@cache
def verbs_of(command: str) -> list[str]:
    """Verbs below a command, by its help."""
    text = help_of(command).partition("positional arguments:")[2].partition("options:")[0]
    return re.findall(r"^    ([a-z-]+)(?:\s|$)", text, re.MULTILINE)


def commands(line: str) -> list[tuple[str, list[str]]]:
    """Each command of ours in a line, as what is behind `python -m`, with the words that follow it."""
    found = []
    for part in re.split(r"\s#|&&|\||;|…", line):
        match = re.search(r"(?:^|[\s/(])(?:lookalike|python -m) +(\S+)(.*)", part)
        if not match:
            continue
        first, rest = match[1], match[2].split()
        if "python -m" in match[0]:
            if first in FOLDERS:
                found.append((first, rest))
            elif "<" not in first:
                assert importlib.util.find_spec(first), f"python -m {first}"
        elif re.fullmatch(r"-?-?[a-z-]+", first) and first != "--help":
            assert first in VERBS, f"lookalike {first}"
            if VERBS[first]:
                folder, *verb = VERBS[first].split()
                found.append((folder, [*verb, *rest]))
    return found


@pytest.mark.parametrize("line", [line for line in SPANS if re.search(r"(?:lookalike|python -m) ", line)])
def test_commands_in_the_docs_exist_with_their_options(line: str) -> None:
    for command, words in commands(line):
        while words and words[0] in verbs_of(command):
            command, words = f"{command} {words[0]}", words[1:]
        assert " " in command or not words or words[0].startswith(("-", "<")), f"{command} has no verb {words[0]}"
        known = set(re.findall(r"(?<!\S)\[?(--?[a-z][a-z-]*)", help_of(command)))
        assert {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)} <= known


def test_verbs_are_those_of_the_command() -> None:
    assert VERBS.keys() - {"--version"} == {verb.name for verb in PROGRAM.verbs}


@pytest.mark.parametrize("verb", VERBS)
def test_verb_is_documented(verb: str) -> None:
    wanted = re.compile(rf"(^|[\s/])lookalike {verb}(\s|$)")
    assert any(wanted.search(line) for line in SPANS)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_verb_of_a_folder_is_documented(folder: str) -> None:
    """As `python -m FOLDER VERB`, as a verb of `lookalike`, or below one of these (`publish`, `bench`)."""
    below = [verb for verb, command in VERBS.items() if command == folder]
    missing = []
    for verb in verbs_of(folder):
        listed = [f"python -m {folder} {verb}", *(f"lookalike {group} {verb}" for group in below)]
        of_lookalike = f"{folder} {verb}" in VERBS.values()
        # `bench` lists its verbs in one sentence, which is easier to read.
        is_listed = folder == "bench" and verb in SPANS
        if not (of_lookalike or is_listed or any(line.startswith(tuple(listed)) for line in SPANS)):
            missing.append(verb)
    assert not missing


def test_make_targets_exist_and_are_documented() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    asked = {target for line in SPANS for target in re.findall(r"(?:^|[\s(])make ([a-z-]+)", line)}
    assert asked == targets


def test_settings_exist() -> None:
    """All settings are listed in .env.example, which the docs name and another test compares."""
    asked = {name for page in PAGES for name in re.findall(rf"{PREFIX}[A-Z_]*[A-Z]", TEXTS[page])}
    settings = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    assert not asked - settings - set(OTHER_VARIABLES)
    assert not set(OTHER_VARIABLES) - asked
    assert "](.env.example)" in TEXTS[ROOT / "README.md"]
    for variable, file in OTHER_VARIABLES.items():
        assert variable in (ROOT / file).read_text(), f"{variable} is not read in {file}"


def test_metrics_exist_and_are_documented() -> None:
    declared = set(re.findall(r'"(lookalike_\w+)"', (ROOT / "contract" / "telemetry.py").read_text()))
    asked = {name for page in PAGES for name in re.findall(r"\blookalike_(?!client)\w+", TEXTS[page])}
    assert asked == declared


def test_routes_exist_and_are_documented() -> None:
    from api.app import create_app

    paths = create_app(load_settings()).openapi()["paths"]
    below = "/v1/collections/{collection}/"
    # Each route below a collection is one of `default` too, and documented once.
    doubled = {path.replace(below, "/v1/"): methods for path, methods in paths.items() if path.startswith(below)}
    assert {path: set(methods) for path, methods in doubled.items()} == {
        path: set(methods)
        for path, methods in paths.items()
        if path.startswith("/v1/") and not path.startswith(("/v1/collections", "/v1/session"))
    }
    single = {path: methods for path, methods in paths.items() if not path.startswith(below)}
    routes = {f"{method.upper()} {path}" for path, methods in single.items() for method in methods}
    asked = {route for line in SPANS for route in re.findall(r"(?:GET|POST|PUT|DELETE) /[\w/.{}]+", line)}
    assert asked == routes
    assert {path for line in SPANS for path in re.findall(r"/v1/[\w/{}]+[\w}]", line)} <= {
        *paths,
        "/v1/collections/NAME",
        "/v1/collections/digits/search",
    }


@pytest.mark.parametrize("page", ALL, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    text = TEXTS[page]
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)|src(?:set)?=\"([^\"]+)\"", text):
        target, _, anchor = "".join(link).partition("#")
        if re.match(r"https?:", target):
            continue
        path = page if not target else (page.parent / target).resolve()
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append("".join(link))
    assert not broken


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_files_in_the_docs_exist(page: Path) -> None:
    """Whatever begins with a folder of ours; `var/` is made when programs run."""
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")} - {"var"}
    words = {word for line in CODE[page] for word in re.findall(r"[\w.-]+(?:/[\w.-]+)*/?", line) if "/" in word}
    assert not [word for word in words if word.split("/")[0] in folders and not (ROOT / word).exists()]


def test_words_of_the_glossary_are_those_of_the_code() -> None:
    """Names in code, in answers and in tables; routes and files have tests of their own."""
    folders = ("contract", "runtime", "topics", *FOLDERS)
    sources = [path for folder in folders for path in (ROOT / folder).rglob("*.*") if path.suffix in (".py", ".cql")]
    known = set(re.findall(r"\w+", "\n".join(path.read_text() for path in sources)))
    spans = [span for span in CODE[ROOT / "docs" / "glossary.md"] if re.fullmatch(r"[A-Za-z_.]+", span)]
    assert not {word for span in spans for word in span.split(".")} - known


def steps() -> list[list[str]]:
    """Rows of the table that follows one image: step, file, function, what is true afterwards."""
    text = TEXTS[ROOT / "docs" / "architecture.md"]
    section = text.partition("## One image from topic to answer\n")[2].partition("\n## ")[0]
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in section.splitlines() if "|" in line]
    return rows[2:]


def test_one_image_passes_few_steps_and_folders() -> None:
    assert 8 <= len(steps()) <= 12
    stops = [folder for folder, _ in itertools.groupby(file.split("/")[0] for _, file, _, _ in steps())]
    assert len(stops) <= 8, stops


@pytest.mark.parametrize("step", steps(), ids=lambda step: str(step[0]))
def test_step_of_one_image_names_a_function_that_exists(step: list[str]) -> None:
    _, file, function, _ = step
    scope: ast.AST = ast.parse((ROOT / file).read_text())
    for name in function.split("."):
        kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        found = [node for node in ast.iter_child_nodes(scope) if isinstance(node, kinds) and node.name == name]
        assert found, f"{file} has no {function}"
        scope = found[0]


def test_readme_is_short() -> None:
    assert len(TEXTS[ROOT / "README.md"].splitlines()) <= 150


@pytest.mark.parametrize("page", ALL, ids=named)
def test_lines_wrap(page: Path) -> None:
    """But for tables, and for what has no place to wrap: a link, a picture's tag."""
    wide = [
        line
        for line in TEXTS[page].splitlines()
        if len(line) > WIDTH and not line.startswith("|") and not re.fullmatch(r"\s*(<img .*>|<source .*>|\S+)", line)
    ]
    assert not wide
