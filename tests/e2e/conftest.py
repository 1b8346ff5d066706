"""A pipeline whose programs run, for the tests that do not need one of their own."""

from collections.abc import Iterator

import pytest

from contract.settings import Settings
from lookalike_client import Client
from stack import groups
from tests.conftest import fresh_settings


@pytest.fixture(scope="package")
def running(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a pipeline whose programs run, for all tests that share one; a new base every 2 s, so that rebuilds happen while tests look."""
    folder = tmp_path_factory.mktemp("pipeline")
    settings = fresh_settings(
        stack,
        folder,
        var_dir=folder / "var",
        cassandra_keyspace=f"{stack.cassandra_keyspace}_e2e",
        rebuild_interval_s=2,
    )
    groups.up(settings, "programs", tied=True)
    yield settings
    groups.down(settings, "programs")


@pytest.fixture
def client(running: Settings) -> Client:
    return Client(running.api_address)
