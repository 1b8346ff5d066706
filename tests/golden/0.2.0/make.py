"""Made the files beside it, with the programs of version 0.2.0 (commit c3ede2e) in whose checkout it was run, on real servers.

    git worktree add /tmp/lookalike-0.2.0 c3ede2e && cd /tmp/lookalike-0.2.0
    ln -s …/var/jars var/jars
    PYTHONPATH=. …/.venv/bin/python …/tests/golden/0.2.0/make.py …/tests/golden/0.2.0

What it makes is never made again: it is what 0.2.0 wrote.
"""

import base64
import json
import shutil
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
from cassandra.cluster import Cluster
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from api.app import create_app
from contract.settings import PREFIX, load_settings
from gallery.generations.serving import Serving, write_serving
from model import mnist
from stack import groups, programs
from stack.ports import own_ports

TABLES = ("logs", "feed", "records", "originals")


def main(target: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix="golden-"))
    settings = load_settings(
        **own_ports(), cassandra_heap_mib=512, var_dir=folder / "var", index_dir=folder / "index", encoder="contrast",
        compiled_dir=folder / "numba", kafka_partitions=2, rebuild_tail_images=20, rebuild_interval_s=1,
    )  # fmt: skip
    groups.up(settings, "servers", tied=True)
    try:
        groups.up(settings, "programs", tied=True)
        try:
            publish(settings, 0, 30)
            time.sleep(6)  # a base is built
            publish(settings, 30, 40)
            settled(settings)
            expected = {"index": asked(settings, "/v1/index"), "answers": answers(settings)}
        finally:
            groups.down(settings, "programs")
        write_serving(settings.index_dir, Serving("contrast", before="report-autoencoder"))
        shutil.copytree(settings.index_dir, target / "index", ignore=shutil.ignore_patterns("lock"))
        (target / "expected.json").write_text(json.dumps(expected, indent=1))
        (target / "rejected.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in rejected(settings)))
        dump(settings, target)
        told = {**programs.environment(settings)}
        own = {name: value for name, value in told.items() if str(folder) not in value}
        (target / "settings.env").write_text("".join(f"{name}={value}\n" for name, value in own.items()))
        shutil.copy("gallery/store/schema.cql", target / "schema.cql")
        (target / "api.txt").write_text(
            "".join(f"{line}\n" for line in sorted(set(promised(create_app(settings).openapi()))))
        )
        assert PREFIX in (target / "settings.env").read_text()
    finally:
        groups.down(settings, "servers")


def publish(settings: Any, begin: int, end: int) -> None:
    digits, chance = mnist.images("train"), np.random.default_rng(7)
    producer = KafkaProducer(bootstrap_servers=settings.kafka_bootstrap)

    def send(**record: Any) -> None:
        producer.send(settings.kafka_topic, **record).get(30)

    for n in range(begin, end):
        headers = [("metadata", json.dumps({"n": n, "ä": f"<{n}>"}).encode())] if n % 3 else []
        send(key=f"digit/{n}".encode(), value=mnist.png(digits[n]), headers=headers, partition=n % 2)
    send(value=mnist.png(digits[end]))  # without a key
    send(key=f"digit/{begin}".encode(), value=None, partition=begin % 2)
    send(key=f"digit/{begin + 1}".encode(), value=mnist.png(digits[begin + 100]), partition=(begin + 1) % 2)
    send(key=f"bad/{begin}".encode(), value=b"<html>")
    send(key=b"bad/metadata", value=mnist.png(digits[0]), headers=[("metadata", b"[1]")])
    noise = chance.integers(0, 256, (140, 140)).astype(np.uint8)
    send(key=b"large", value=mnist.png(noise), partition=0)  # its original is kept in chunks
    producer.close()


def asked(settings: Any, path: str, body: dict[str, Any] | None = None) -> Any:
    request = urllib.request.Request(
        f"{settings.api_address}{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def settled(settings: Any) -> None:
    while asked(settings, "/v1/index")["lag"] != 0:
        time.sleep(0.5)


def answers(settings: Any) -> list[dict[str, Any]]:
    found = []
    for image_id in ("digit/3", "digit/31", "digit/1", "large"):
        told = asked(settings, "/v1/search?k=60", {"image_id": image_id})
        found.append(
            {
                "image_id": image_id,
                "matches": [{k: m[k] for k in ("id", "distance", "metadata", "source")} for m in told["matches"]],
            }
        )
    return found


def rejected(settings: Any) -> list[dict[str, Any]]:
    consumer = KafkaConsumer(bootstrap_servers=settings.kafka_bootstrap, auto_offset_reset="earliest")
    places = [
        TopicPartition(settings.rejected_topic, p) for p in consumer.partitions_for_topic(settings.rejected_topic)
    ]
    consumer.assign(places)
    ends, found = consumer.end_offsets(places), []
    while any(consumer.position(place) < ends[place] for place in places):
        for records in consumer.poll(500).values():
            found += [
                {"key": _text(r.key), "value": _text(r.value), "timestamp": r.timestamp,
                 "headers": [[name, _text(value)] for name, value in r.headers]} for r in records
            ]  # fmt: skip
    consumer.close()
    return found


def dump(settings: Any, target: Path) -> None:
    cluster = Cluster([settings.cassandra_hosts], port=settings.cassandra_port, protocol_version=5)
    session = cluster.connect(settings.cassandra_keyspace)
    with (target / "rows.jsonl").open("w") as file:
        for table in TABLES:
            for row in session.execute(f"SELECT JSON * FROM {table}"):
                file.write(f"{json.dumps([table, row[0]])}\n")
    cluster.shutdown()


def promised(document: dict[str, Any]) -> list[str]:
    """What the API's document names, one line each: routes, parameters, and the fields of every schema."""
    lines = []
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            lines.append(f"{method.upper()} {path}")
            lines += [f"{method.upper()} {path} ? {each['name']}" for each in route.get("parameters", [])]
            lines += [f"{method.upper()} {path} {status}" for status in route["responses"]]
    for name, schema in document["components"]["schemas"].items():
        lines += [f"{name} . {field}" for field in schema.get("properties", {})]
    return lines


def _text(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
