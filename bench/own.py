"""What a measurement has to itself: a whole stack, or a road on the servers of one that runs."""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from contract.clients import open_admin
from contract.settings import Settings, load_settings
from producers.topics import ensure_topics
from stack import groups
from stack.ports import free_ports, own_ports


@contextmanager
def own_stack(settings: Settings) -> Iterator[Settings]:
    """A stack with data and ports of its own, empty at first, so that every run measures the same; gone at the end."""
    var_dir = (settings.var_dir / "bench" / "stack").resolve()
    own = load_settings(**{**settings.model_dump(), **own_ports(), "var_dir": var_dir, "index_dir": var_dir / "index"})
    for group in reversed(groups.GROUPS):
        groups.down(own, group)  # what an interrupted run left
    shutil.rmtree(var_dir, ignore_errors=True)
    try:
        for group in groups.wanted(own):
            groups.up(own, group, tied=True)
        yield own
    finally:
        for group in reversed(groups.GROUPS):
            groups.down(own, group)
        shutil.rmtree(var_dir, ignore_errors=True)


@contextmanager
def own_road(settings: Settings, name: str) -> Iterator[Settings]:
    """Topics, a keyspace, folders and an API port on the running servers; at the end topics and folders go.

    Embedders of one keyspace are one consumer group, and another one may be running.
    """
    with TemporaryDirectory(prefix=f"lookalike-{name}-") as folder:
        changes = {
            "kafka_topic": f"bench-{name}-{uuid.uuid4().hex[:8]}",
            "cassandra_keyspace": f"{settings.cassandra_keyspace[: 47 - len(name)]}_{name}",
            "var_dir": Path(folder),
            "index_dir": Path(folder) / "index",
            "api_port": free_ports(1)[0],
        }
        road = load_settings(**{**settings.model_dump(), **changes})
        ensure_topics(road)
        try:
            yield road
        finally:
            admin = open_admin(road)
            admin.delete_topics([road.kafka_topic, road.rejected_topic])
            admin.close()
