"""One embedder for many collections, on a real Kafka and Cassandra: taken up, let go of, kept apart, served in turn."""

import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from contract.record_key import RecordKey
from contract.settings import Settings
from gallery.store.store import Store
from model.encoder import load_encoder
from tests.embedding import (
    Embedder,
    Sent,
    eventually,
    make_topics,
    picture,
    producer,
    publish,
    running_embedder,
    wait_for_feed,
)
from tests.kafka_topic import read_topic
from tests.many_collections import Made, expected, made_collections, outcomes, some_records
from workers.__main__ import main

TAKEN_UP_S = 10.0
IMAGES_PER_S = 10


@pytest.fixture
def made(settings: Settings, store: Store) -> Iterator[Made]:
    with made_collections(settings, store) as collections:
        yield collections


def test_collections_of_two_encoders_are_taken_up_and_dropped_while_another_goes_on(
    settings: Settings,
    store: Store,
    made: Made,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = make_topics(settings)
    with running_embedder(settings, tmp_path) as embedder:
        sent = publish(settings, some_records(1, 20))
        assert outcomes(wait_for_feed(store, settings, log, sent)) == expected(sent)

        cats, cats_log = made.create("cats", partitions=2)
        dogs, dogs_log = made.create("dogs", encoder="report-autoencoder")
        cats_sent = publish(cats, some_records(2, 20, partitions=2))
        assert outcomes(wait_for_feed(store, cats, cats_log, cats_sent, TAKEN_UP_S)) == expected(cats_sent)
        dogs_sent = publish(dogs, some_records(3, 20))
        dogs_rows = wait_for_feed(store, dogs, dogs_log, dogs_sent, 2 * TAKEN_UP_S)
        assert outcomes(dogs_rows) == expected(dogs_sent)
        assert {len(row.embedding or b"") for row in dogs_rows.values() if row.outcome == "put"} == {4 * 128}

        # Records flow into `default` while `cats` goes: its topics at once, as if nobody had waited for the embedder.
        publish(cats, some_records(4, 400, partitions=2))
        made.drop("cats", cats)
        sent += publish(settings, some_records(5, 40))
        eventually("cats is let go of", lambda: '"event": "let go of"' in embedder.text(), TAKEN_UP_S)
        sent += publish(settings, some_records(6, 40))
        assert outcomes(wait_for_feed(store, settings, log, sent, TAKEN_UP_S)) == expected(sent)

        # The same name again is another collection.
        again, again_log = made.create("cats")
        assert again_log != cats_log
        again_sent = publish(again, some_records(7, 20))
        assert outcomes(wait_for_feed(store, again, again_log, again_sent, 2 * TAKEN_UP_S)) == expected(again_sent)
        # Also where the embedder sees nothing of it in between: fewer records than the one before had.
        made.drop("cats", again)
        again, again_log = made.create("cats")
        again_sent = publish(again, some_records(8, 10))
        assert outcomes(wait_for_feed(store, again, again_log, again_sent, 2 * TAKEN_UP_S)) == expected(again_sent)
        assert embedder.process.poll() is None

        for each, of_each in ((settings, sent), (dogs, dogs_sent), (again, again_sent)):
            refused = {place for place, outcome in expected(of_each).items() if outcome == "reject"}
            told = [dict(message.headers) for message in read_topic(each, each.rejected_topic)]
            assert {message["lookalike-topic"].decode() for message in told} == {each.kafka_topic}
            places = {(int(found["lookalike-partition"]), int(found["lookalike-offset"])) for found in told}
            assert places == refused
        monkeypatch.setenv("LOOKALIKE_KAFKA_TOPIC", settings.kafka_topic)
        monkeypatch.setenv("LOOKALIKE_KAFKA_BOOTSTRAP", settings.kafka_bootstrap)
        assert main(["rejected", "list", "--json", "--collection", "dogs"]) == 0
        listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert {one["topic"] for one in listed} == {dogs.kafka_topic}


def test_collections_that_are_dropped_one_after_the_other_hold_up_nobody(
    settings: Settings, store: Store, made: Made, tmp_path: Path
) -> None:
    """The second one's topic vanishes while partitions are given out anew because of the first."""
    log = make_topics(settings)
    names = ("one", "two", "three")
    with running_embedder(settings, tmp_path) as embedder:
        dropped = {name: made.create(name) for name in names}
        for own, own_log in dropped.values():
            wait_for_feed(store, own, own_log, publish(own, some_records(2, 5)), 2 * TAKEN_UP_S)
        for name, (own, _) in dropped.items():
            before = changes(embedder)
            made.drop(name, own)
            eventually("it begins", partial(_has_changed, embedder, before), TAKEN_UP_S)
        sent = publish(settings, some_records(3, 40))
        assert outcomes(wait_for_feed(store, settings, log, sent, TAKEN_UP_S)) == expected(sent)
        assert embedder.process.poll() is None


@pytest.mark.thorough
def test_members_of_one_group_that_embed_other_collections_share_what_both_know(
    settings: Settings, store: Store, made: Made, tmp_path: Path
) -> None:
    """`--collections one` beside all: who knows a topic alone reads all of it, and nobody is given what he does not know."""
    log = make_topics(settings)
    one, one_log = made.create("one", partitions=4)
    two, two_log = made.create("two", partitions=2)
    some = Embedder(settings, tmp_path, arguments=("--collections", "one"))
    everything = Embedder(settings, tmp_path, slot=1)
    try:
        eventually("both read", lambda: assigned(some) == {one.kafka_topic: 2} and assigned(everything), 60)
        for each, its_log in ((settings, log), (one, one_log), (two, two_log)):
            partitions = each.kafka_partitions
            sent = publish(each, some_records(8, 8 * partitions, partitions=partitions))
            assert outcomes(wait_for_feed(store, each, its_log, sent)) == expected(sent)
        eventually(
            "each reads its part",
            lambda: (
                assigned(some) == {one.kafka_topic: 2}
                and assigned(everything)
                == {settings.kafka_topic: settings.kafka_partitions, one.kafka_topic: 2, two.kafka_topic: 2}
            ),
        )
        # The same slot with other collections takes the place of what it was.
        some.stop()
        some = Embedder(settings, tmp_path, arguments=("--collections", "two"))
        began_s = time.monotonic()
        eventually("it reads another one", lambda: assigned(some) == {two.kafka_topic: 1}, 60)
        sent = publish(one, some_records(9, 40, partitions=4))
        wait_for_feed(store, one, one_log, sent)
        print(f"reading {time.monotonic() - began_s:.1f} s after it was started")
    except BaseException:
        print(some.text()[-4000:], everything.text()[-4000:])
        raise
    finally:
        some.stop()
        everything.stop()


@pytest.mark.timeout(600)
@pytest.mark.thorough
def test_dropped_again_and_again_it_holds_up_nobody(
    settings: Settings, store: Store, made: Made, tmp_path: Path
) -> None:
    """Records come while partitions are given out anew, and a partition goes while its records are handed on."""
    log = make_topics(settings)
    with running_embedder(settings, tmp_path) as embedder:
        sent = publish(settings, some_records(1, 20))
        for number in range(20):
            cats, cats_log = made.create(f"cats-{number}", partitions=2)
            cats_sent = publish(cats, some_records(2, 20, partitions=2))
            wait_for_feed(store, cats, cats_log, cats_sent, 2 * TAKEN_UP_S)
            publish(cats, some_records(3, 400, partitions=2))
            made.drop(f"cats-{number}", cats)
            sent += publish(settings, some_records(4, 40))
            gone = number + 1
            eventually("it is let go of", lambda: embedder.text().count('"event": "let go of"') == gone, TAKEN_UP_S)  # noqa: B023
            sent += publish(settings, some_records(5, 40))
            assert outcomes(wait_for_feed(store, settings, log, sent, TAKEN_UP_S)) == expected(sent)
        assert embedder.process.poll() is None


@pytest.mark.parametrize(
    "busy",
    [2_500, pytest.param(100_000, marks=[pytest.mark.thorough, pytest.mark.alone, pytest.mark.timeout(600)])],
)
def test_a_busy_collection_does_not_starve_another(
    settings: Settings, store: Store, made: Made, tmp_path: Path, busy: int
) -> None:
    """Ten images a second come into one while `busy` wait in another: most have their feed row before two batches of those, the one
    that waits to be written when an image comes, and the one that is embedded. Nearly all have it before three: one more may be
    taken until the image is fetched.

    Counted in images, since what a second brings depends on what else the machine does. On a slow machine batches are smaller.
    """
    log = make_topics(settings)
    quiet, quiet_log = made.create("quiet")
    with running_embedder(settings, tmp_path):
        wait_for_feed(store, settings, log, publish(settings, [Sent(b"first", picture(1))]))
        wait_for_feed(store, quiet, quiet_log, publish(quiet, [Sent(b"first", picture(1))]))
        distinct = [picture(n) for n in range(500)]
        partitions = settings.kafka_partitions
        flood = [Sent(f"b/{n}".encode(), distinct[n % 500], partition=n % partitions) for n in range(busy)]
        flooded = publish(settings, flood)
        fingerprint = load_encoder(settings.encoder).fingerprint
        reached = dict.fromkeys(range(partitions), 0)
        sent: list[Sent] = []
        client = producer(quiet)
        next_s = time.monotonic()
        while not all(offset >= busy // partitions for offset in reached.values()):
            time.sleep(max(next_s - time.monotonic(), 0))
            next_s += 1 / IMAGES_PER_S
            record = Sent(f"q/{len(sent)}".encode(), picture(len(sent)))
            place = client.send(quiet.kafka_topic, key=record.key, value=record.value, partition=0).get(30)
            sent.append(record._replace(offset=place.offset))
            if len(sent) % IMAGES_PER_S == 0:
                for partition, offset in reached.items():
                    key = RecordKey(log, partition, offset)
                    reached[partition] = store.feed.next_offset(key, fingerprint=fingerprint)
        client.close()
        rows = wait_for_feed(store, quiet, quiet_log, sent)
        busy_rows = wait_for_feed(store, settings, log, flooded)
    assert len(sent) >= 10
    came_ms = np.array([rows[0, record.offset].kafka_time_ms for record in sent])
    done_ms = np.array([rows[0, record.offset].embedded_at_ms for record in sent])
    busy_ms = np.sort([row.embedded_at_ms for row in busy_rows.values()])
    overtaken_by = np.searchsorted(busy_ms, done_ms) - np.searchsorted(busy_ms, came_ms)
    for what, found in (("ms", done_ms - came_ms), ("of the others first", overtaken_by)):
        p50, p99 = np.percentile(found, [50, 99])
        print(f"{len(sent)} images beside {busy}: p50 {p50:.0f}, p99 {p99:.0f}, most {max(found)} {what}")
    assert p50 <= 2 * settings.batch_images_max
    assert p99 <= 3 * settings.batch_images_max


def changes(embedder: Embedder) -> int:
    """How often what it reads was given out anew."""
    return embedder.text().count('"event": "revoked"')


def _has_changed(embedder: Embedder, before: int) -> bool:
    return changes(embedder) > before


def assigned(embedder: Embedder) -> dict[str, int]:
    """How many partitions of each topic an embedder has read since it was given some last."""
    found: dict[str, int] = {}
    for line in embedder.text().splitlines():
        if '"event": "assigned"' in line:
            one = json.loads(line)
            found[one["topic"]] = len(one["starts"])
        elif '"event": "revoked"' in line:
            found = {}
    return found
