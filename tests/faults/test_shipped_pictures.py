"""The test pictures of other projects, and ten thousand altered copies: each has a verdict, and nothing is lost over any."""

import io
import random
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image

from contract.settings import Settings
from gallery.store.store import Store
from model.pictures.decoder import Decoded, Decoder
from model.pictures.images import set_up_pillow
from tests.conftest import fresh_settings
from tests.corpora import shipped_pictures
from tests.embedding import Sent, make_topics, picture, publish, running_embedder, wait_for_feed
from tests.hostile_files import ENCODER, counted, judged
from tests.mutations import mutated

# Fetches what ten packages ship.
pytestmark = pytest.mark.thorough

FILES_MIN = 10_000
# What takes long to decode is altered less often than its share.
MUTANT_SIZE_BYTES_MAX = 200_000
IN_TOPIC = 600


@pytest.fixture(scope="module")
def shipped() -> dict[str, bytes]:
    return shipped_pictures()


@pytest.fixture(scope="module")
def two() -> Iterator[list[Decoder]]:
    with closing(Decoder(ENCODER)) as first, closing(Decoder(ENCODER)) as second:
        yield [first, second]


def verdicts_of(values: list[bytes], decoders: list[Decoder]) -> list[Decoded]:
    halves = values[: len(values) // 2], values[len(values) // 2 :]
    with ThreadPoolExecutor(len(decoders)) as threads:
        return [verdict for part in threads.map(judged, halves, decoders) for verdict in part]


@pytest.mark.timeout(600)
def test_every_shipped_picture_is_refused_with_a_reason_or_has_the_size_that_it_states(
    shipped: dict[str, bytes], two: list[Decoder]
) -> None:
    assert len(shipped) > 700
    verdicts = verdicts_of(list(shipped.values()), two)
    print(counted(verdicts))
    set_up_pillow(accept_truncated=False)
    for (name, value), verdict in zip(shipped.items(), verdicts, strict=True):
        if not verdict.reason:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with Image.open(io.BytesIO(value)) as stated:
                    assert sorted(stated.size) == sorted((verdict.width, verdict.height)), name
    accepted = [verdict for verdict in verdicts if not verdict.reason]
    assert len(accepted) > 400 and not [verdict for verdict in verdicts if verdict.reason == "decoder-crashed"]


@pytest.mark.timeout(1200)
def test_ten_thousand_altered_pictures_are_accepted_or_refused_with_a_reason_and_the_decoder_goes_on(
    shipped: dict[str, bytes], two: list[Decoder], chance: random.Random
) -> None:
    begin = [value for value in shipped.values() if len(value) <= MUTANT_SIZE_BYTES_MAX]
    values = [mutated(begin[n % len(begin)], begin, chance) for n in range(FILES_MIN)]
    verdicts = verdicts_of(values, two)
    print(counted(verdicts))
    assert len(verdicts) == FILES_MIN


def test_hundreds_of_them_go_through_the_topic_and_each_has_its_row(
    stack: Settings, shipped: dict[str, bytes], two: list[Decoder], tmp_path: Path, chance: random.Random
) -> None:
    settings = fresh_settings(stack, tmp_path, kafka_partitions=2)
    log = make_topics(settings)
    begin = [value for value in shipped.values() if len(value) <= MUTANT_SIZE_BYTES_MAX]
    values = chance.sample(begin, IN_TOPIC // 2)
    values += [mutated(chance.choice(begin), begin, chance) for _ in range(IN_TOPIC // 2)]
    expected = verdicts_of(values, two)
    values += [picture(n) for n in range(2)]
    sent = [Sent(f"file/{n}".encode(), value, (), n % 2) for n, value in enumerate(values)]
    with closing(Store.connect(settings)) as store, running_embedder(settings, tmp_path) as embedder:
        sent = publish(settings, sent)
        rows = wait_for_feed(store, settings, log, sent, timeout_s=240)
        assert embedder.process.poll() is None, "the embedder died"
    found = [rows[each.partition, each.offset] for each in sent]
    assert [(row.outcome, row.reason) for row in found[:IN_TOPIC]] == [
        ("reject" if verdict.reason else "put", verdict.reason) for verdict in expected
    ]
    assert [row.outcome for row in found[IN_TOPIC:]] == ["put", "put"]
