"""`GET /v1/rejected` while Kafka is away."""

from pathlib import Path

import httpx

from tests.api_gallery import Gallery, digit, running_api, settings_for


def test_without_kafka_the_answer_says_that_rejected_records_may_be_missing(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    Gallery(settings).put({"a": digit(0)})
    with running_api(settings) as address:
        answer = httpx.get(f"{address}/v1/rejected", timeout=10)
        assert answer.json() == {"rejected": [], "degraded": ["rejected"]}
        assert httpx.get(f"{address}/v1/rejected", params={"limit": 51}).json()["code"] == "bad-limit"
