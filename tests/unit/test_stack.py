"""The stack says what is missing, and the supervisor keeps processes running."""

import hashlib
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from contract.collections import Collection
from contract.errors import ConfigurationError
from contract.settings import load_settings
from gallery.generations.collection_file import write_collection
from stack import groups, jars
from stack.__main__ import main as stack_main
from stack.cassandra import cassandra
from stack.java import find_java, find_maven
from stack.kafka import kafka
from stack.ports import free_ports
from stack.process import is_alive, start_child, start_time, stop_stranger
from stack.programs import environment
from stack.progress import Progress
from stack.service import Service, refuse_taken_ports
from stack.state import GroupState, state_file, write_state
from stack.supervisor import StartError, Supervisor

DEADLINE_S = 20.0


def python(folder: Path, name: str, code: str, **more: object) -> Service:
    log = folder / f"{name}.log"
    return Service(name=name, command=lambda: [sys.executable, "-c", code], log=log, **more)  # type: ignore[arg-type]


def for_a_while(enough: Callable[[], bool]) -> Callable[[], bool]:
    """Wanted until `enough`; fails the test when that does not come."""
    deadline = time.monotonic() + DEADLINE_S

    def is_wanted() -> bool:
        assert time.monotonic() < deadline, "what was waited for did not come"
        return not enough()

    return is_wanted


def fake_java(folder: Path, says: str) -> None:
    java = folder / "bin" / "java"
    java.parent.mkdir()
    java.write_text(f"#!/bin/sh\necho '{says}' >&2\n")
    java.chmod(0o755)


def test_wrong_java_says_which_is_needed_and_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_java(tmp_path, 'openjdk version "21.0.4" 2024-07-16')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"need Java 17, but .*bin/java is Java 21\. Install OpenJDK 17"):
        find_java()


def test_missing_java_and_maven_say_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"no `java` on the PATH\. Install OpenJDK 17"):
        find_java()
    with pytest.raises(ConfigurationError, match=r"no `mvn` on the PATH\. Install it"):
        find_maven()


def test_taken_port_names_the_setting_that_moves_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        service = python(tmp_path, "api", "", ports={"LOOKALIKE_API_PORT": port})
        with pytest.raises(ConfigurationError, match=f"port {port} is taken.*LOOKALIKE_API_PORT"):
            refuse_taken_ports(service)
    refuse_taken_ports(service)


def test_free_ports_are_none_that_an_outgoing_connection_may_take_meanwhile() -> None:
    ports = free_ports(50)
    assert len(set(ports)) == 50
    with socket.create_server(("127.0.0.1", 0)) as given_by_the_system:
        assert max(ports) < min(32_768, given_by_the_system.getsockname()[1])


def test_servers_elsewhere_are_not_started_here() -> None:
    with pytest.raises(ConfigurationError, match=r"LOOKALIKE_KAFKA_BOOTSTRAP=broker\.example:9092.*--only programs"):
        kafka(load_settings(kafka_bootstrap="broker.example:9092"))
    with pytest.raises(ConfigurationError, match=r"LOOKALIKE_CASSANDRA_HOSTS=a,b.*--only programs"):
        cassandra(load_settings(cassandra_hosts="a,b"))


def test_missing_altered_and_foreign_jars_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sums = tmp_path / "jars.sha256"
    good = hashlib.sha256(b"good").hexdigest()
    sums.write_text("".join(f"{good}  kafka/{name}.jar\n" for name in "abc") + f"{good}  cassandra/d.jar\n")
    monkeypatch.setattr(jars, "SUMS_FILE", sums)
    for name, content in (("a", b"good"), ("b", b"evil"), ("e", b"good")):
        (tmp_path / f"{name}.jar").write_bytes(content)
    assert jars.differences(tmp_path, "kafka") == [
        "b.jar has another SHA-256",
        "c.jar is missing",
        "e.jar is not listed",
    ]


def test_programs_read_exactly_the_settings_of_the_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(api_port=8123, var_dir=tmp_path, index_dir=tmp_path / "i", rebuild_interval_s=2.5)
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    assert load_settings() == settings


def test_process_that_dies_is_shown_and_restarted_with_back_off(tmp_path: Path) -> None:
    said: list[str] = []
    # Without a question for readiness it is ready as soon as it runs, so its end is a death and not a failed start.
    dying = python(tmp_path, "dying", "import time, sys; time.sleep(0.3); print('the reason'); sys.exit(7)")
    supervisor = Supervisor("g", [[dying]], tmp_path / "g.json", said.append)
    supervisor.start(for_a_while(lambda: False))
    supervisor.keep(for_a_while(lambda: len(said) == 2))
    supervisor.stop()
    assert "dying ended with exit code 7; starting it again in 0.5 s" in said[0]
    assert "the reason" in said[0]
    assert "again in 1.0 s" in said[1]


def test_a_disk_that_is_full_for_a_while_ends_neither_the_group_nor_the_supervisor(tmp_path: Path) -> None:
    """Neither what a process needs nor the state can be written: the process is started once it can be, and the state told."""
    disk, said = tmp_path / "disk", list[str]()
    disk.mkdir()
    code = "import time; time.sleep(0.3); raise SystemExit(1)"
    dying = python(tmp_path, "dying", code, prepare=lambda: (disk / "properties").touch())
    supervisor = Supervisor("g", [[dying]], disk / "g.json", said.append)
    supervisor.start(for_a_while(lambda: False))
    shutil.rmtree(disk)
    disk.touch()  # a file in its place, since root may write anywhere
    supervisor.keep(for_a_while(lambda: any("could not be started" in each for each in said)))
    assert any("dying could not be started: [Errno 20]" in each for each in said)
    assert len([each for each in said if "g.json cannot be written" in each]) == 1
    disk.unlink()
    disk.mkdir()
    died = len(said)
    supervisor.keep(for_a_while(lambda: any("dying ended" in each for each in said[died:])))
    state = msgspec.json.decode((disk / "g.json").read_bytes(), type=GroupState)
    assert state.processes[0].restarts >= 3
    supervisor.stop()


def test_process_that_ends_with_the_same_error_three_times_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stack.supervisor.BACK_OFF_FIRST_S", 0.05)
    code = (
        "import json, time; time.sleep(0.3); "
        "print(json.dumps({'level': 'error', 'event': f'row {time.time_ns()} is bad'})); raise SystemExit(1)"
    )
    supervisor = Supervisor("test", [[python(tmp_path, "poisoned", code)]], tmp_path / "state.json", lambda _: None)
    found: list[str] = []

    def is_told() -> bool:
        state = msgspec.json.decode((tmp_path / "state.json").read_bytes(), type=GroupState)
        found[:] = [process.error for process in state.processes]
        return any(found)

    supervisor.start(for_a_while(lambda: False))
    supervisor.keep(for_a_while(is_told))
    supervisor.stop()
    assert "exit code 1: row" in found[0] and "is bad" in found[0]


def test_failed_start_tells_the_last_log_lines(tmp_path: Path) -> None:
    broken = python(tmp_path, "broken", "import sys; sys.exit('no such file')", is_ready=lambda: False)
    supervisor = Supervisor("g", [[broken]], tmp_path / "g.json", print)
    with pytest.raises(StartError, match=r"(?s)broken ended with exit code 1 while starting.*no such file"):
        supervisor.start(for_a_while(lambda: False))
    supervisor.stop()


def test_start_that_never_gets_ready_ends_at_its_deadline(tmp_path: Path) -> None:
    slow = python(tmp_path, "slow", "import time; time.sleep(60)", is_ready=lambda: False, start_s=0.3)
    supervisor = Supervisor("g", [[slow]], tmp_path / "g.json", print)
    with pytest.raises(StartError, match="slow was not ready within 0 s"):
        supervisor.start(for_a_while(lambda: False))
    supervisor.stop()


def test_next_step_starts_when_the_one_before_has_done_its_work(tmp_path: Path) -> None:
    made = tmp_path / "made"
    first = python(
        tmp_path, "first", f"import time, pathlib; time.sleep(0.3); pathlib.Path({str(made)!r}).touch()", once=True
    )
    second = python(
        tmp_path, "second", f"import pathlib, time; assert pathlib.Path({str(made)!r}).exists(); time.sleep(60)"
    )
    said: list[str] = []
    supervisor = Supervisor("g", [[first], [second]], tmp_path / "g.json", said.append)
    supervisor.start(for_a_while(lambda: False))
    supervisor.stop()
    assert made.exists()
    assert not said


def test_stop_ends_the_whole_process_group(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    code = (
        "import pathlib, subprocess, sys, time\n"
        "grandchild = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"pathlib.Path({str(pid_file)!r}).write_text(str(grandchild.pid))\n"
        "time.sleep(60)"
    )
    child = start_child(python(tmp_path, "parent", code))
    is_wanted = for_a_while(lambda: pid_file.exists() and bool(pid_file.read_text()))
    while is_wanted():
        time.sleep(0.02)
    grandchild = int(pid_file.read_text())
    started_at = start_time(grandchild)
    child.stop(5.0)
    is_wanted = for_a_while(lambda: not is_alive(grandchild, started_at))
    while is_wanted():
        time.sleep(0.02)


def test_process_that_only_has_the_number_is_left_alone(tmp_path: Path) -> None:
    child = start_child(python(tmp_path, "other", "import time; time.sleep(60)"))
    stop_stranger(child.pid, child.started_at - 3600, stop_s=0.1)
    assert child.exit_code() is None
    child.stop(5.0)


def test_state_of_a_supervisor_that_was_killed_is_not_ready(tmp_path: Path) -> None:
    file = tmp_path / "run" / "servers.json"
    write_state(file, GroupState("servers", os.getpid(), start_time(os.getpid()), []))
    assert GroupState("servers", os.getpid(), start_time(os.getpid()), []).is_ready
    assert not GroupState("servers", os.getpid(), 1.0, []).is_ready


def test_progress_counts_behind_what_was_there_before(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(1000, {0: 50, 1: 70})
    progress.show(published={0: 550, 1: 570}, stored={0: 300, 1: 70}, searchable={0: 60, 1: 70})
    assert "published 1,000 · stored   250 · searchable    10 of 1,000" in capsys.readouterr().err
    assert not progress.is_complete
    progress.show(published={0: 900, 1: 900}, stored={0: 900, 1: 900}, searchable={0: 550, 1: 570})
    assert progress.is_complete


def test_next_encoder_gets_an_embedder_and_an_indexer_of_its_own(tmp_path: Path) -> None:
    settings = load_settings(
        encoder="report-autoencoder", next_encoder="contrast", var_dir=tmp_path, indexer_metrics_port=9
    )
    assert groups.wanted(settings) == ("servers", "programs", "next")
    services = groups.steps(settings, "next")[0]
    assert [service.name for service in services] == ["embedder-next", "indexer-next"]
    assert [service.log.name for service in services] == ["embedder-next.log", "indexer-next.log"]
    for service in services:
        assert service.environment["LOOKALIKE_ENCODER"] == "contrast"
        assert service.environment["LOOKALIKE_NEXT_ENCODER"] == ""
        assert service.environment["LOOKALIKE_INDEXER_METRICS_PORT"] == "0"


@pytest.mark.parametrize("following", ["", "report-autoencoder"])
def test_next_encoder_must_be_another_one(tmp_path: Path, following: str) -> None:
    settings = load_settings(encoder="report-autoencoder", next_encoder=following, var_dir=tmp_path)
    with pytest.raises(ConfigurationError, match=f"LOOKALIKE_NEXT_ENCODER={following}: name an encoder other than"):
        groups.steps(settings, "next")


def test_status_lists_the_collections_that_have_an_index_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = load_settings(var_dir=tmp_path)
    write_collection(settings, Collection(name="holiday", encoder="photo", partitions=1))
    write_state(state_file(settings, "programs"), GroupState("programs", os.getpid(), start_time(os.getpid()), []))
    monkeypatch.setenv("LOOKALIKE_VAR_DIR", str(tmp_path))
    monkeypatch.setenv("LOOKALIKE_API_PORT", "1")
    assert stack_main(["status"]) == 0
    told = capsys.readouterr().out
    assert "holiday" in told and "images.holiday" in told and "default" in told
    stack_main(["status", "--json"])
    assert [each["name"] for each in json.loads(capsys.readouterr().out)["collections"]] == ["default", "holiday"]
