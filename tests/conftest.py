"""Real Kafka and Cassandra for the whole test session, and a pipeline of its own for each test."""

import logging
import os
import random
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from xdist.scheduler import LoadFileScheduling

from contract.settings import DIGITS_ENCODER, PREFIX, Settings, load_settings
from gallery.store.store import Store
from stack import groups
from stack.ports import free_ports, own_ports

# Compiling the search takes longer than most tests.
COMPILED_DIR = Path(__file__).parents[1] / "var" / "numba"
# In tests/unit, but they need servers or what npm installs.
NO_UNITS = {"test_asyncapi", "test_bench_smoke", "test_containers"}
SEED = int(os.environ.get("LOOKALIKE_TEST_SEED") or random.SystemRandom().randrange(2**32))


def pytest_configure() -> None:
    """Have tests and their child processes take the digits' encoder, which is quick, unless they name another one.

    And let child processes hear SIGINT also when the tests run in the background, where shells have it ignored.
    """
    os.environ["LOOKALIKE_TEST_SEED"] = str(SEED)  # where tests run in several processes, all have one
    os.environ.setdefault(f"{PREFIX}ENCODER", DIGITS_ENCODER)
    os.environ[f"{PREFIX}ENCODERS_DIR"] = str(COMPILED_DIR.with_name("no-encoders"))  # a person's own change no test
    # Clients that a test leaves without servers try again, and would tell of it in the output of the tests that follow.
    for client in ("kafka", "cassandra"):
        logging.getLogger(client).addHandler(logging.NullHandler())
        logging.getLogger(client).propagate = False
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    """Tell how to repeat what this run draws by chance."""
    return f"seed: LOOKALIKE_TEST_SEED={SEED}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything in tests/faults, so that `make faults` finds it."""
    for item in items:
        if Path(__file__).with_name("faults") in item.path.parents:
            item.add_marker("faults")


class _FewStacks(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """Each file in one process; two processes at most start servers, and one installs what npm has."""

    def _split_scope(self, nodeid: str) -> str:
        path = Path(nodeid.split("::", 1)[0])
        if path.parent.name == "faults" or (path.parent.name == "unit" and path.stem not in NO_UNITS):
            return path.name
        return "servers" if path.parent.name in ("servers", "unit") else "all parts"


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadFileScheduling:
    """How tests are shared out among processes, with `-n`."""
    return _FewStacks(config, log)


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """A test's own source of chance: the same for the same seed, whatever else runs."""
    print(f"LOOKALIKE_TEST_SEED={SEED}")
    return random.Random(f"{SEED} {request.node.name}")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a running Kafka and Cassandra, with a keyspace of this run.

    They are started on free ports and stopped at the end; with LOOKALIKE_TEST_RUNNING=1 those that the environment's
    settings name are used instead and left running, which saves half a minute while one works on a test.
    """
    keyspace = f"test_{uuid.uuid4().hex[:12]}"
    if os.environ.get("LOOKALIKE_TEST_RUNNING"):
        yield load_settings(cassandra_keyspace=keyspace, audit_share=0.0, compiled_dir=COMPILED_DIR)
        return
    settings = load_settings(
        **own_ports(),
        cassandra_heap_mib=512,
        cassandra_keyspace=keyspace,
        audit_share=0.0,  # tests of it start one
        var_dir=tmp_path_factory.mktemp("var"),
        compiled_dir=COMPILED_DIR,
    )
    groups.up(settings, "servers", tied=True)
    try:
        yield settings
    finally:
        groups.down(settings, "servers")


@pytest.fixture
def settings(stack: Settings, tmp_path: Path) -> Settings:
    """Settings of one test's own pipeline: a topic that does not exist yet, an empty index folder, a free API port."""
    return fresh_settings(stack, tmp_path)


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    """The tables of one test's settings."""
    opened = Store.connect(settings)
    yield opened
    opened.close()


def fresh_settings(stack: Settings, folder: Path, **changes: object) -> Settings:
    """The running servers' settings with a new topic, `folder`/index, a free API port, and `changes` by field name."""
    return load_settings(
        **{
            **stack.model_dump(),
            "kafka_topic": f"images-{uuid.uuid4().hex[:12]}",
            "index_dir": folder / "index",
            "api_port": free_ports(1)[0],
            **changes,
        }
    )
