"""Keys as they are made, kept in their file, and changed on the command line."""

import asyncio
import json
import logging
import threading
from pathlib import Path

import pytest
from fastapi import Request

from api.access.guard import Access
from api.access.key_file import KeyFile
from api.access.keys import Keyring, StoredKey, new_key
from api.answers.problems import ProblemError
from api.live.collections import unknown_collection
from api.routes.collections import look_for_collection
from commands.__main__ import main
from contract.errors import ConfigurationError
from lookalike_client import Client
from tests.keys import add_key


def test_the_file_is_written_whole_by_one_at_a_time_and_trusted_only_if_nobody_else_writes_it(tmp_path: Path) -> None:
    file = tmp_path / "below" / "keys.json"
    threads = [threading.Thread(target=add_key, args=(file, f"k{n}", "search")) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(key.name for key in KeyFile(file).current().keys) == [f"k{n}" for n in range(8)]
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o620)
    with pytest.raises(ConfigurationError, match="others may write it"):
        KeyFile(file).current()


def test_a_key_has_256_random_bits_and_only_its_hash_is_kept(tmp_path: Path) -> None:
    made = [new_key("x", ["search"]) for _ in range(50)]
    assert len({key for key, _ in made}) == 50
    assert all(len(key.rpartition("_")[2]) >= 1 and len(key) == 3 + 12 + 1 + 43 for key, _ in made)
    key, stored = made[0]
    assert key.split("_", 2)[2] not in repr(stored)
    ring = Keyring([stored], are_needed=True)
    assert ring.find(key) == stored
    for other in (
        key[:-1],
        key + "A",
        key.upper(),
        f" {key}",
        "",
        "lk_",
        key.replace(stored.id, "0" * 12),
        made[1][0],
        "é" * 59,
    ):
        assert ring.find(other) is None


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOOKALIKE_KEYS_FILE", str(tmp_path / "keys.json"))
    # What Kafka clients say that APIs of other tests left behind is no output of the command.
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    return tmp_path


def test_keys_are_made_listed_and_revoked_on_the_command_line(
    command: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["keys", "create", "shop", "--scopes", "search,publish", "--collections", "hats", "--per-minute", "60"])
        == 0
    )
    out, err = capsys.readouterr()
    assert err.startswith("The key ")
    assert out.strip() not in err
    found = KeyFile(command / "keys.json").current().find(out.strip())
    assert found
    assert found.scopes == {"search", "publish"}
    assert found.per_minute == 60
    assert found.is_for("hats")
    assert not found.is_for("default")
    assert main(["keys", "create", "me", "--scopes", "search", "--to", str(command / "mine")]) == 0
    assert capsys.readouterr().out == ""
    assert (command / "mine").stat().st_mode & 0o777 == 0o600
    assert KeyFile(command / "keys.json").current().find((command / "mine").read_text().strip())
    assert main(["keys", "list", "--json"]) == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(each["name"], each["scopes"], each["revoked_at"]) for each in listed] == [
        ("shop", ["publish", "search"], None),
        ("me", ["search"], None),
    ]
    assert main(["keys", "revoke", "shop", listed[1]["id"]]) == 0
    assert not any(KeyFile(command / "keys.json").current().has(key) for key in [found])
    assert main(["keys", "list"]) == 0
    assert capsys.readouterr().out.count("revoked") == 2
    assert main(["keys", "create", "shop", "--scopes", "search", "--if-none"]) == 0
    assert len(KeyFile(command / "keys.json").current().keys) == 2
    assert main(["keys", "create", "shop", "--scopes", "search"]) == 0, "a revoked key's name is free"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create", "x", "--scopes", "read"], "There is no scope 'read'"),
        (["create", "x", "--scopes", "search", "--per-minute", "0"], "--per-minute is 0"),
        (["create", "a\nb", "--scopes", "search"], "without control characters"),
        (["create", "x", "--scopes", "search", "--collections", "No/Such"], "No/Such"),
        (["revoke", "nobody"], "No key in use is called 'nobody'"),
    ],
)
def test_what_is_asked_wrongly_is_told_and_changes_nothing(
    command: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(["keys", *arguments]) == 1
    assert said in capsys.readouterr().err
    assert not (command / "keys.json").exists()


def test_a_name_is_taken_once_and_no_file_of_a_refused_key_is_left(
    command: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["keys", "create", "x", "--scopes", "search"]) == 0
    assert main(["keys", "create", "x", "--scopes", "search", "--to", str(command / "second")]) == 1
    assert "There is a key 'x' already" in capsys.readouterr().err
    assert not (command / "second").exists()


def test_stored_keys_are_read_again_as_they_were(tmp_path: Path) -> None:
    key = StoredKey(
        id="a",
        name="é",
        sha256="0",
        scopes=frozenset({"search"}),
        collections=frozenset({"b"}),
        per_minute=1,
        revoked_at_ms=5,
    )
    KeyFile(tmp_path / "k").change(lambda _: [key])
    assert KeyFile(tmp_path / "k").current().keys == (key,)


def test_the_client_sends_no_key_to_where_it_is_redirected() -> None:
    request = Client("http://127.0.0.1:9", api_key="secret")._request("GET", "/index", {})
    assert request.get_header("Authorization") == "Bearer secret"
    assert "secret" not in str(request.headers), "urllib sends these on to another host"


@pytest.mark.parametrize("collections", [["gone"], None])
def test_a_key_for_one_collection_is_not_told_of_others_when_that_one_is_gone(collections: list[str] | None) -> None:
    class Without:
        async def look_for(self, _: str) -> None:
            """It is not there."""

        def of(self, name: str) -> None:
            raise unknown_collection(name, ["default", "secret"])

    _, key = new_key("x", ["search"], collections=collections)
    scope = {"type": "http", "state": {"collections": Without()}, "access": Access(key, is_vouched=True)}
    with pytest.raises(ProblemError, match="There is no collection 'gone'") as problem:
        asyncio.run(look_for_collection(Request(scope), "gone"))
    assert ("secret" in problem.value.detail) == (collections is None)
