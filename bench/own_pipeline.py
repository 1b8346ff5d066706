"""What a measurement has to itself: a whole stack, or a pipeline on the servers of a running one: topics, tables, an index, programs and images."""

import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from contract.errors import DependencyError
from contract.settings import Settings, load_settings
from gallery.generations.reader import Reader
from stack import groups
from stack.ports import free_ports, own_ports
from stack.process import Child, start_child
from stack.programs import answers_ready, api, embedder, indexer
from topics.clients import open_admin
from topics.publisher import ImagePublisher
from topics.topic import ensure_topics

START_TIMEOUT_S = 120.0
STALLED_TIMEOUT_S = 180.0


@contextmanager
def own_stack(settings: Settings, *, only: Sequence[str] = ()) -> Iterator[Settings]:
    """A stack with data and ports of its own, empty at first, so that every run measures the same; gone at the end.

    Args:
        only: the groups that are started; none is all.
    """
    var_dir = (settings.var_dir / "bench" / "stack").resolve()
    changes = {**own_ports(), "stack_secured": False, "var_dir": var_dir, "index_dir": var_dir / "index"}
    own = load_settings(**{**settings.model_dump(), **changes})
    for group in reversed(groups.GROUPS):
        groups.down(own, group)  # what an interrupted run left
    shutil.rmtree(var_dir, ignore_errors=True)
    try:
        for group in only or groups.wanted(own):
            groups.up(own, group, tied=True)
        yield own
    finally:
        for group in reversed(groups.GROUPS):
            groups.down(own, group)
        shutil.rmtree(var_dir, ignore_errors=True)


@contextmanager
def own_pipeline(settings: Settings, name: str) -> Iterator[Settings]:
    """Settings of a pipeline of its own on the running servers: topics, a keyspace, folders and an API port.

    Topics and folders go at the end; the keyspace stays. Embedders of one keyspace are one consumer group, and another
    one may be running.
    """
    with TemporaryDirectory(prefix=f"lookalike-{name}-") as folder:
        changes = {
            "kafka_topic": f"bench-{name}-{uuid.uuid4().hex[:8]}",
            "cassandra_keyspace": f"{settings.cassandra_keyspace[: 47 - len(name)]}_{name}",
            "var_dir": Path(folder),
            "index_dir": Path(folder) / "index",
            "api_port": free_ports(1)[0],
        }
        own = load_settings(**{**settings.model_dump(), **changes})
        ensure_topics(own)
        try:
            yield own
        finally:
            admin = open_admin(own)
            admin.delete_topics([own.kafka_topic, own.rejected_topic, own.matches_topic])
            admin.close()


@contextmanager
def own_programs(settings: Settings, *, with_api: bool) -> Iterator[dict[str, Child]]:
    """Embedder, indexer and API of a pipeline, as `make up` starts them: ready, and stopped at the end.

    Raises:
        DependencyError: one of them ended, or there is no generation after two minutes.
    """
    services = [embedder(settings), indexer(settings), *([api(settings)] if with_api else [])]
    children = {service.name: start_child(service) for service in services}
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not (
            (settings.encoder_index_dir / "CURRENT").exists() and (not with_api or answers_ready(settings.api_address))
        ):
            for name, child in children.items():
                if child.exit_code() is not None:
                    raise DependencyError(name, f"It ended. {child.last_words()}")
            if time.monotonic() > deadline:
                raise DependencyError("index", f"it has no generation after {START_TIMEOUT_S:.0f} s.")
            time.sleep(0.1)
        yield children
    finally:
        for child in children.values():
            child.stop(10.0)


def wait_for_child(name: str, child: Child, is_so: Callable[[], bool], *, timeout_s: float, lacking: str) -> None:
    """Wait until something is so of a program that was started.

    Raises:
        DependencyError: it ended, or the time is over: what is `lacking`, and its last words.
    """
    deadline = time.monotonic() + timeout_s
    while not is_so():
        if child.exit_code() is not None or time.monotonic() > deadline:
            raise DependencyError(name, f"{lacking} {child.last_words()}")
        time.sleep(0.05)


def publish_all(settings: Settings, images: Iterable[bytes], prefix: str) -> int:
    """Publish images at once, numbered under a prefix, and return how many when all are searchable, or refused.

    Raises:
        DependencyError: nothing went on for three minutes.
    """
    with ImagePublisher(settings) as publisher:
        futures = [publisher.put(image, image_id=f"{prefix}/{number}") for number, image in enumerate(images)]
        confirmed = [future.result(600) for future in futures]
    ends = {str(record.partition): 0 for record in confirmed}
    for record in confirmed:
        ends[str(record.partition)] = max(ends[str(record.partition)], record.offset + 1)
    reader = Reader(settings.encoder_index_dir, fingerprint=None)
    covered, since = -1, time.monotonic()
    while covered < sum(ends.values()):
        snapshot = reader.current()
        offsets = snapshot.manifest.offsets if snapshot else {}
        now = sum(min(offsets.get(partition, 0), end) for partition, end in ends.items())
        if now != covered:
            covered, since = now, time.monotonic()
        if time.monotonic() - since > STALLED_TIMEOUT_S:
            raise DependencyError("index", f"it covers {covered} of {len(confirmed)} images and stands still.")
        time.sleep(0.1)
    return len(confirmed)
