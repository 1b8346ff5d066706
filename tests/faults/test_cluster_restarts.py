"""Everything of a cluster and of two machines that embed and answer is restarted one by one, as an operator does, and no search fails."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cluster import Cluster
from tests.waiting import wait_for


@pytest.mark.thorough
@pytest.mark.clusters
@pytest.mark.timeout(900)
def test_everything_is_restarted_one_by_one_and_no_search_fails(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, machines=2, apis=4)
    parts = cluster.parts

    def restart() -> None:
        for name in (*parts.servers, *parts.programs, *parts.apis):
            cluster.note_fault(name, "restarted")
            began_s = time.monotonic()
            parts.replace(replace(parts.services[name]))
            parts.wait_ready(name)
            if name.startswith("kafka"):
                wait_for(cluster.is_whole, timeout_s=120)
            back_s = cluster.back_s(time.monotonic())
            print(f"{name}: ready after {time.monotonic() - began_s - back_s:.1f} s, ingest {back_s:.1f} s", flush=True)

    try:
        cluster.during(restart)
        cluster.judged_anew()
        assert cluster.questions > 200
        assert cluster.unanswered == 0
    finally:
        cluster.close()
