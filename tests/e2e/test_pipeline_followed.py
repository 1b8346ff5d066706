"""One image is followed through all parts of the pipeline, by the id of the request that brought it."""

import json
import urllib.request
from typing import Any

from contract.settings import Settings
from lookalike_client import Client
from tests.e2e.test_pipeline import digit
from tests.waiting import wait_for
from topics.rejected import read_rejected

# Ends before its format says so, which only the embedder notices.
TRUNCATED = digit(3)[:-40]


def publish(settings: Settings, value: bytes, image_id: str, **headers: str) -> dict[str, Any]:
    """What the API answers, as any program would ask it."""
    request = urllib.request.Request(f"{settings.api_address}/v1/images?id={image_id}", value, headers=headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        assert response.headers["X-Request-Id"] == headers["X-Request-Id"]
        answer: dict[str, Any] = json.load(response)
        return answer


def told(settings: Settings, program: str, request_id: str) -> list[str]:
    """Events in a program's log that name a request."""
    lines = (settings.var_dir / "logs" / f"{program}.log").read_text().splitlines()
    return [json.loads(line)["event"] for line in lines if f'"{request_id}"' in line]


def test_the_id_of_a_request_is_in_the_logs_of_all_parts_and_in_what_is_rejected(
    running: Settings, client: Client
) -> None:
    watch = client.watch(digit(970), max_distance=0.5)
    wait_for(lambda: next((w for w in client.watches() if w.id == watch.id and w.is_watched), None))
    publish(running, digit(970), "followed", **{"X-Request-Id": "followed-1"})
    publish(running, TRUNCATED, "followed-badly", **{"X-Request-Id": "followed-2"})
    wait_for(lambda: told(running, "watcher", "followed-1") or None)
    assert told(running, "api", "followed-1") == ["published"]
    assert told(running, "embedder", "followed-1") == ["batch"]
    wait_for(lambda: told(running, "indexer", "followed-1") or None)
    assert told(running, "indexer", "followed-1") == ["published"]
    assert told(running, "watcher", "followed-1") == ["matches told"]

    wait_for(lambda: "rejected" in told(running, "embedder", "followed-2") or None)
    rejected = [dict(each.headers) for each in read_rejected(running) if each.key == b"followed-badly"]
    assert [headers["x-request-id"] for headers in rejected] == [b"followed-2"]
