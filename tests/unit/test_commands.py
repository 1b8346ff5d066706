"""`lookalike`: one command, one way to tell an error, one set of exit statuses."""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from commands.__main__ import PROGRAM, main
from contract.errors import LookalikeError
from runtime.command_line import Program, Verb, parser_of, run_program

ROOT = Path(__file__).parents[2]
VERBS = {
    *(
        "up",
        "down",
        "status",
        "logs",
        "demo",
        "fetch",
        "wipe",
        "topics",
        "publish",
        "search",
        "serve",
        "watch",
        "watches",
        "watcher",
        "audit",
        "capacity",
        "backup",
        "restore",
        "stats",
    ),
    *(
        "verify",
        "promote",
        "rollback",
        "embedder",
        "indexer",
        "rejected",
        "duplicates",
        "train",
        "export",
        "evaluate",
        "import",
    ),
    *("bench", "completion", "collections", "keys"),
}
# They want no options, or are asked for below other verbs.
WITHOUT_EXAMPLE = {"topics", "fetch", "wipe"}
HEAVY = ("numpy", "pydantic", "kafka", "faust", "cassandra", "fastapi", "sklearn", "PIL", "tqdm")


def lines_of(verbs: tuple[Verb, ...], before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every verb, and every verb below one, as it is typed."""
    for verb in verbs:
        yield (*before, verb.name)
        yield from lines_of(verb.verbs, (*before, verb.name))


def command(*words: str, folder: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'clients/python'}"}
    return subprocess.run(
        [sys.executable, "-m", "commands", *words],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        cwd=folder,
        check=False,
    )


def test_all_verbs_are_there() -> None:
    assert {verb.name for verb in PROGRAM.verbs} == VERBS
    assert {verb.name for verb in PROGRAM.verbs if verb.name == "publish" for verb in verb.verbs} == {
        "mnist",
        "folder",
        "stdin",
    }


@pytest.mark.parametrize("words", list(lines_of(PROGRAM.verbs)), ids=" ".join)
def test_help_of_every_verb_speaks_of_this_command(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    line = " ".join(("lookalike", *words))
    assert told.startswith(f"usage: {line} ")
    assert "python -m" not in told
    assert words[0] in WITHOUT_EXAMPLE or re.search(rf"(?s)[Ee]xamples?\b.*{line}", told)


@pytest.mark.parametrize("folder", ["api", "bench", "gallery", "model", "producers", "stack", "workers"])
def test_help_of_a_folder_speaks_of_that_folder(folder: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "clients/python")}
    told = subprocess.run(
        [sys.executable, "-m", folder, "--help"], capture_output=True, text=True, cwd=ROOT, env=environment, timeout=60
    )
    assert told.returncode == 0
    assert told.stdout.startswith(f"usage: python -m {folder} ")
    assert f"python -m {folder} " in told.stdout.partition("xample")[2]


def test_help_waits_for_nothing_heavy() -> None:
    code = (
        "import sys\nfrom commands.__main__ import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        f"print('loaded:', [name for name in {HEAVY} if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'clients/python'}"}
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60)
    assert told.stdout.endswith("loaded: []\n"), told.stdout + told.stderr


def test_search_needs_neither_numpy_nor_drivers(tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"nothing is asked")
    code = (
        "import sys\nfrom commands.__main__ import main\n"
        f"status = main(['search', {str(picture)!r}, '--url', 'http://127.0.0.1:9'])\n"
        f"print(status, [name for name in {HEAVY} if name in sys.modules and name != 'pydantic'])"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'clients/python'}"}
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60)
    assert told.stdout == "1 []\n"
    assert told.stderr.startswith("error: unreachable: http://127.0.0.1:9 does not answer")


def test_version_is_the_projects_and_the_clients() -> None:
    told = command("--version")
    versions = {
        tomllib.loads(file.read_text())["project"]["version"]
        for file in (ROOT / "pyproject.toml", ROOT / "clients/python/pyproject.toml")
    }
    assert (told.returncode, told.stdout) == (0, f"lookalike {versions.pop()}\n")
    assert not versions


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "error: the following arguments are required: VERB. See: lookalike --help\n"),
        (["serach"], "error: argument VERB: invalid choice: 'serach'"),
        (["search"], "error: one of the arguments file --address is required. See: lookalike search --help\n"),
        (["publish", "mnist", "--images", "0"], "error: argument --images: 0 is not a number of at least 1. See: "),
    ],
)
def test_wrong_question_says_where_help_is(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(says)


def test_what_fails_says_why_on_stderr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOOKALIKE_VAR_DIR", str(tmp_path))
    for words, says in (
        (["stats"], "error: There is no index in "),
        (["search", str(tmp_path / "nothing.png")], f"error: {tmp_path}/nothing.png cannot be read: No such file"),
        (["publish", "folder", str(tmp_path / "nothing")], "error: "),
        (["logs", "api"], "error: there is no log of api in "),
    ):
        assert main(words) == 1
        told = capsys.readouterr()
        assert told.out == ""
        assert told.err.startswith(says)
    monkeypatch.setenv("LOOKALIKE_API_PORT", "many")
    assert main(["status"]) == 1
    assert capsys.readouterr().err.startswith("error: Settings are not valid: LOOKALIKE_API_PORT=")


def test_an_index_that_is_not_there_names_those_that_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As after the digits' demo, whose encoder is not the one that a new terminal is set to."""
    monkeypatch.setenv("LOOKALIKE_VAR_DIR", str(tmp_path))
    monkeypatch.setenv("LOOKALIKE_ENCODER", "photo")
    (tmp_path / "index" / "contrast").mkdir(parents=True)
    (tmp_path / "index" / "contrast" / "CURRENT").write_text("1")
    assert main(["stats"]) == 1
    assert "There is one of contrast: name it with --encoder." in capsys.readouterr().err


def test_status_of_nothing_is_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOOKALIKE_VAR_DIR", str(tmp_path))
    assert main(["status"]) == 3
    assert "Nothing is running" in capsys.readouterr().out
    assert main(["status", "--json"]) == 3
    assert '"is_ready": false' in capsys.readouterr().out


def test_it_means_this_checkout_from_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOOKALIKE_VAR_DIR", raising=False)
    told = command("logs", "nobody", folder=tmp_path)
    assert f"there is no log of nobody in {(ROOT / 'var').resolve()}/logs" in told.stderr


def test_ctrl_c_ends_with_130_and_says_what_the_verb_says(capsys: pytest.CaptureFixture[str]) -> None:
    def stop(*_: object) -> int:
        raise KeyboardInterrupt

    def fail(*_: object) -> int:
        raise LookalikeError("what happened, and what to do")

    program = Program(
        prog="p",
        description="",
        epilog="",
        verbs=(
            Verb(name="stop", summary="stops", run=stop, interrupted="Stopped; nothing was changed."),
            Verb(name="fail", summary="fails", run=fail),
        ),
    )
    assert run_program(program, ["stop"]) == 130
    assert capsys.readouterr().err == "Stopped; nothing was changed.\n"
    assert run_program(program, ["fail"]) == 1
    assert capsys.readouterr().err == "error: what happened, and what to do\n"


def test_ctrl_c_ends_a_real_one() -> None:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'clients/python'}", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "commands", "watch", "--url", "http://127.0.0.1:9"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as watching:
        assert watching.stdout is not None
        assert "does not answer" in watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        _, told = watching.communicate(timeout=30)
    assert (watching.returncode, told) == (130, "Stopped; nothing was changed.\n")


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_every_verb_and_option(shell: str, tmp_path: Path) -> None:
    script = tmp_path / "completion"
    told = command("completion", shell)
    assert told.returncode == 0, told.stderr
    script.write_text(told.stdout)
    if shutil.which(shell):
        checked = subprocess.run([shell, "-n", script], capture_output=True, text=True, timeout=60)
        assert (checked.returncode, checked.stderr) == (0, "")
    for verb in VERBS | {"--explain", "--interval-s", "--processes", "replay", "folder"}:
        assert verb in told.stdout


def test_every_verb_tells_whether_it_runs_or_has_verbs() -> None:
    def check(verbs: tuple[Verb, ...]) -> None:
        for verb in verbs:
            assert (verb.run is None) == bool(verb.verbs), verb.name
            check(verb.verbs)

    check(PROGRAM.verbs)
    assert isinstance(parser_of(PROGRAM), argparse.ArgumentParser)


def test_script_of_a_checkout_builds_the_environment_before_it_runs(tmp_path: Path) -> None:
    shutil.copy(ROOT / "lookalike", tmp_path / "lookalike")
    made = tmp_path / ".venv" / "bin" / "lookalike"
    (tmp_path / "Makefile").write_text(
        f"venv:\n\t@echo building\n\t@mkdir -p {made.parent}\n"
        f"\t@printf '#!/bin/sh\\necho \"$$1 and $$2\"\\nexit 3\\n' > {made}\n\t@chmod +x {made}\n"
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = elsewhere / "linked"
    link.symlink_to(tmp_path / "lookalike")
    told = subprocess.run([link, "a b", "c"], capture_output=True, text=True, cwd=elsewhere, timeout=60)
    assert (told.returncode, told.stdout, told.stderr) == (3, "a b and c\n", "building\n")
