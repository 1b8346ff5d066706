"""Each producer is killed, interrupted and run again while the pipeline works: the gallery holds every image once."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaConsumer, TopicPartition

from contract.settings import Settings
from lookalike_client import Client
from stack import groups
from tests.conftest import fresh_settings
from tests.servers.test_producers_commands import make_images, run, start
from tests.verified import verified_ids
from tests.waiting import wait_for


@pytest.fixture
def running(stack: Settings, tmp_path: Path) -> Iterator[Settings]:
    """Settings of a pipeline whose programs run."""
    settings = fresh_settings(
        stack, tmp_path, var_dir=tmp_path / "var", cassandra_keyspace=f"{stack.cassandra_keyspace}_prod"
    )
    groups.up(settings, "programs", tied=True)
    yield settings
    groups.down(settings, "programs")


@pytest.mark.timeout(900)
@pytest.mark.parametrize("images", [600, pytest.param(60_000, marks=pytest.mark.thorough)])
def test_digits_are_all_found_once_after_a_kill_and_an_interrupt(running: Settings, images: int) -> None:
    arguments = ("mnist", "--images", str(images))
    stop_in_the_middle(running, images, *arguments)
    status, report, _ = run(running, *arguments)
    assert (status, report["confirmed"]) == (0, images)
    assert indexed(running) == {f"mnist/train/{n:05}" for n in range(images)}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("images", [120, pytest.param(1_000, marks=pytest.mark.thorough)])
def test_files_of_a_folder_are_all_found_once_with_their_bytes(running: Settings, tmp_path: Path, images: int) -> None:
    folder = tmp_path / "pictures"
    made = make_images(folder, images)
    arguments = ("folder", str(folder), "--state", str(tmp_path / "state.json"))
    stop_in_the_middle(running, images, *arguments)
    assert run(running, *arguments)[0] == 0
    assert run(running, *arguments)[1]["confirmed"] == 0
    assert indexed(running) == made.keys()
    client = Client(running.api_address)
    for key in list(made)[:: len(made) // 30]:
        assert client.original(key) == made[key]
        assert client.search_id(key, k=1).matches[0].distance == 0.0


@pytest.mark.timeout(600)
@pytest.mark.parametrize("images", [120, pytest.param(1_000, marks=pytest.mark.thorough)])
def test_files_named_on_standard_input_are_all_found_once(running: Settings, tmp_path: Path, images: int) -> None:
    made = make_images(tmp_path / "pictures", images)
    names = [str(tmp_path / "pictures" / key) for key in made]
    half = "\n".join([*names[: images // 2], names[-1][:-5]])
    assert run(running, "stdin", lines=half.encode())[0] == 1, "the last line names half a file"
    assert run(running, "stdin", lines="\n".join(names).encode())[0] == 0
    assert indexed(running) == set(names)


def stop_in_the_middle(settings: Settings, images: int, *arguments: str) -> None:
    """Run a producer and kill it after a quarter of its images, then run it again and interrupt it after a quarter more."""
    for sent_signal in (signal.SIGKILL, signal.SIGINT):
        before = count(settings)
        process = start(settings, *arguments, "--rate", str(max(100, images // 10)))
        wait_for(lambda enough=before + images // 4: count(settings) >= enough or None)  # type: ignore[misc]
        process.send_signal(sent_signal)
        process.communicate(timeout=60)
        assert process.returncode != 0


def count(settings: Settings) -> int:
    return sum(end_offsets(settings).values())


def end_offsets(settings: Settings) -> dict[str, int]:
    consumer = KafkaConsumer(bootstrap_servers=settings.kafka_bootstrap)
    try:
        places = [TopicPartition(settings.kafka_topic, number) for number in range(settings.kafka_partitions)]
        return {str(place.partition): end for place, end in consumer.end_offsets(places).items() if end}
    finally:
        consumer.close()


def indexed(settings: Settings) -> set[str]:
    """The ids in the index once it covers the topic; each is in it once, as the feed says."""
    client = Client(settings.api_address)
    ends = end_offsets(settings)
    wait_for(lambda: ends.items() <= client.index()["coverage"]["offsets"].items() or None, timeout_s=600)
    return verified_ids(settings)
