"""A secured stack over longer: its collections, the commands of the documentation, and its next start."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from kafka import KafkaAdminClient
from kafka.admin import (
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePatternFilter,
    ResourceType,
)

from contract.errors import LookalikeError
from contract.settings import environment_of
from lookalike_client import Client
from stack import grants, groups, secured
from stack.jars import ROOT
from tests.api_gallery import digit
from tests.secured_stack import Running, or_none, running_secured
from tests.waiting import wait_for
from topics.clients import open_admin
from topics.publisher import ImagePublisher

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_secured(tmp_path_factory.mktemp("secured")) as made:
        yield made


@pytest.mark.parametrize(("name", "engine"), [("more", "exact"), ("vast", "cassandra")])
def test_collections_work_with_the_least_rights(running: Running, name: str, engine: str) -> None:
    create = ["collections", "create", name, "--encoder", running.settings.encoder, "--engine", engine]
    made = subprocess.run(
        [sys.executable, "-m", "gallery", *create],
        cwd=ROOT, env={**os.environ, **environment_of(running.as_user("admin"))}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    running.errors.append(made.stdout + made.stderr)
    assert made.returncode == 0, made.stderr
    more = Client(running.settings.api_address, collection=name, api_key=running.api_key, timeout_s=60)
    written = wait_for(lambda: or_none(lambda: more.publish(digit(5), image_id="five")))
    found = wait_for(lambda: or_none(lambda: more.search(digit(5), k=1, min_offsets=written.min_offsets, wait_ms=5000)))
    assert [match.id for match in found.matches] == ["five"]


def test_the_commands_of_the_docs_grant_what_is_needed(running: Running) -> None:
    """All rights are taken away, the commands are run as they stand there, and the pipeline works again.

    The embedder, which was reading, is started again meanwhile, and its group is granted last: it goes on then.
    """
    log = running.settings.var_dir / "logs" / "embedder.log"
    with closing(open_admin(running.as_user(secured.OWNER))) as admin:
        _take_away(admin, ResourceType.ANY)
        topics_of_embedder = [line for line in grants.acl_lines(running.settings) if line.startswith("embedder")]
        admin.create_acls([grants.acl(*line.split()) for line in topics_of_embedder if " topic " in line])
        wait_for(lambda: log.read_text().count("the consumer group refuses") > 1 or None)
        _take_away(admin, ResourceType.TOPIC)
    with pytest.raises(LookalikeError), ImagePublisher(running.as_user("producer")) as publisher:
        publisher.put(digit(0)).result()
    text = (ROOT / "docs" / "security.md").read_text()
    script = text.partition("```bash\n")[2].partition("```")[0]
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=secured.folder(running.settings),
        env={
            **os.environ,
            "KAFKA": running.settings.kafka_bootstrap,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        },
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "'failed': ['" not in done.stdout
    _publish_and_find(running, 7, "seven")


def test_a_secured_stack_comes_back_as_it_was(running: Running) -> None:
    settings = running.settings
    groups.down(settings, "servers")
    with pytest.raises(LookalikeError, match="LOOKALIKE_STACK_SECURED=false"):
        groups.up(settings.model_copy(update={"stack_secured": False}), "servers", tied=True)
    groups.down(settings, "servers")
    groups.up(settings, "servers", tied=True)
    _publish_and_find(running, 8, "eight")


def _take_away(admin: KafkaAdminClient, kind: ResourceType) -> None:
    """All that is granted on things of this kind."""
    every = ResourcePatternFilter(kind, None, ACLResourcePatternType.ANY)
    admin.delete_acls([ACLFilter(None, None, ACLOperation.ANY, ACLPermissionType.ANY, every)])


def _publish_and_find(running: Running, n: int, image_id: str) -> None:
    """An image goes all the way, a moment after the programs were let in again."""
    with ImagePublisher(running.as_user("producer")) as publisher:
        sent = publisher.put(digit(n), image_id=image_id).result()
    client = running.client
    answer = wait_for(lambda: or_none(lambda: client.search(digit(n), k=1, min_offsets=sent.min_offsets, wait_ms=5000)))
    assert [match.id for match in answer.matches] == [image_id]
