"""Clusters of three: whichever server is killed or stands still, ingest goes on within 10 s, searches go on, and no rule is broken.

`make clusters ROUNDS=n` says how often each server goes away; with LOOKALIKE_TABLES=docs/reliability.md the table there is written.
"""

import os
import random
import shutil
import time
from collections.abc import Iterator
from itertools import groupby

import pytest

from tests.cluster import FROZEN, KILLED, SERVERS, Away, Cluster
from tests.conftest import SEED
from tests.soak import ANSWERED_SHARE_MIN
from tests.tables import tell_table
from tests.waiting import wait_for

ROUNDS = int(os.environ.get("LOOKALIKE_TEST_ROUNDS") or 1)
BACK_S_MAX = 10.0
AWAY_S = 12.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def times() -> Iterator[list[Away]]:
    """What became of each time that a server was away; told in a table in the end."""
    found: list[Away] = []
    yield found
    if found:
        columns = ("away", "times", "back after", "at its return", "searches answered")
        tell_table("clusters", columns, list(_rows(found)))


def _rows(times: list[Away]) -> Iterator[tuple[object, ...]]:
    def kind(away: Away) -> tuple[str, str]:
        return away.server.partition("-")[0], away.what

    for (server, what), group in groupby(sorted(times, key=kind), kind):
        them = list(group)
        asked, unanswered = sum(each.asked for each in them), sum(each.unanswered for each in them)
        back, again = ([getattr(each, name) for each in them] for name in ("back_s", "again_s"))
        yield (
            f"one of three of {server.capitalize()}, {what}",
            len(them),
            f"{sorted(back)[len(back) // 2]:.1f} s, at most {max(back):.1f} s",
            f"at most {max(again):.1f} s",
            f"{1 - unanswered / max(1, asked):.2%} of {asked}",
        )


@pytest.mark.thorough
@pytest.mark.clusters
@pytest.mark.timeout(300 + 200 * ROUNDS)
@pytest.mark.parametrize("server", SERVERS)
def test_ingest_and_searches_go_on_without_one_server(cluster: Cluster, times: list[Away], server: str) -> None:
    chance = random.Random(f"{SEED} {server}")
    mine: list[Away] = []

    def act() -> None:
        for number in range(ROUNDS):
            time.sleep(chance.uniform(2.0, 4.0))  # load before it, at another moment each time
            what = (KILLED, FROZEN)[(number + SERVERS.index(server)) % 2]
            mine.append(cluster.away(server, what, AWAY_S))
            print(mine[-1], flush=True)

    cluster.during(act)
    times += mine
    judgement = cluster.judged_anew()
    assert judgement.records > 100 and judgement.answers > 20
    assert max(each.back_s for each in mine) <= BACK_S_MAX
    assert sum(each.unanswered for each in mine) <= (1 - ANSWERED_SHARE_MIN) * sum(each.asked for each in mine)


@pytest.mark.thorough
@pytest.mark.clusters
@pytest.mark.timeout(600)
def test_a_node_that_comes_back_gets_what_it_missed_by_hints_and_without_them_by_repair(cluster: Cluster) -> None:
    def miss(forget: bool) -> None:
        with cluster.parts.down("cassandra-2"):
            cluster.note_fault("cassandra-2")
            time.sleep(AWAY_S)  # the absence itself
            if forget:
                for other in (1, 3):
                    cluster.nodetool(other, "disablehandoff")
                    cluster.nodetool(other, "truncatehints")
        cluster.parts.restart_what_ended()
        cluster.parts.wait_ready("cassandra-2")

    cluster.during(lambda: miss(forget=False))
    wait_for(lambda: cluster.is_in_sync() or None, timeout_s=120)
    cluster.during(lambda: miss(forget=True))
    for other in (1, 3):
        cluster.nodetool(other, "enablehandoff")
    assert not cluster.is_in_sync()
    cluster.nodetool(2, "repair", "--full", cluster.settings.cassandra_keyspace)
    assert cluster.is_in_sync()
    cluster.judged_anew()


@pytest.mark.thorough
@pytest.mark.clusters
@pytest.mark.timeout(600)
def test_a_node_and_a_broker_that_lost_their_folders_get_all_again(cluster: Cluster) -> None:
    def lose() -> None:
        for server in ("cassandra-3", "kafka-3"):
            cluster.note_fault(server)
            with cluster.parts.down(server):
                kind, _, number = server.partition("-")
                shutil.rmtree(cluster.settings.var_dir / kind / number)
            cluster.parts.restart_what_ended()
            cluster.parts.wait_ready(server)
        wait_for(cluster.is_whole, timeout_s=120)

    cluster.during(lose)
    assert cluster.is_in_sync(3)
    assert "UN  127.0.0.3" in cluster.nodetool(1, "status")

    def go_on() -> None:
        cluster.back_s(time.monotonic())

    # The others are not needed any more for what they alone had.
    with cluster.parts.down("cassandra-1"), cluster.parts.down("kafka-1"):
        cluster.note_fault("cassandra-1")
        cluster.note_fault("kafka-1")
        cluster.during(go_on)
    cluster.judged_anew()
