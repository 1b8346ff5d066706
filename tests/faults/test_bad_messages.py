"""Bad messages of every kind through Kafka and a real embedder: each has its reason, and none hinders what is around it."""

import asyncio
import random
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from PIL import Image

from contract.messages import IMAGE_SIZE_BYTES_MAX, Rejection
from contract.settings import Settings
from gallery.store.store import Store
from tests.bad_messages import Case, bad_messages, odd_messages
from tests.bombs import bombs
from tests.conftest import fresh_settings
from tests.embedding import (
    Embedder,
    Sent,
    make_topics,
    picture,
    publish,
    running_embedder,
    wait_for_feed,
)
from tests.kafka_topic import read_topic
from tests.unit.test_images import encoded
from tests.unit.test_images import picture as coloured
from topics.rejected import CUT_HEADER

ZEROS_BYTES = 100 * 1000 * 1000


@pytest.fixture
def settings(stack: Settings, tmp_path: Path) -> Settings:
    return fresh_settings(stack, tmp_path, kafka_partitions=2)


@pytest.fixture
def log(settings: Settings) -> str:
    return make_topics(settings)


def check(settings: Settings, log: str, store: Store, cases: list[Case]) -> None:
    """Wait until the embedder has come to the end; each case has its outcome, in the feed and among the rejected ones."""
    rows = wait_for_feed(store, settings, log, [case.sent for case in cases], timeout_s=120)
    outcomes = {case.name: rows[case.sent.partition, case.sent.offset] for case in cases}
    found = {name: (row.outcome, row.reason) for name, row in outcomes.items()}
    assert found == {case.name: ("reject" if case.reason else "put", case.reason) for case in cases}

    rejected = {}
    for message in read_topic(settings, settings.rejected_topic):
        why = Rejection.from_headers(message.headers)
        rejected[why.key.partition, why.key.offset] = why, message
    assert len(rejected) == sum(1 for case in cases if case.reason)
    for case in cases:
        if case.reason:
            why, message = rejected[case.sent.partition, case.sent.offset]
            assert (why.reason, why.key.log) == (case.reason, log), case.name
            cut = dict(message.headers).get(CUT_HEADER, b"").decode().split(",")
            assert "key" in cut or message.key == case.sent.key, case.name
            assert "value" in cut or message.value == case.sent.value, case.name
            assert list(message.headers)[: len(case.sent.headers)] == list(case.sent.headers), case.name


def send(settings: Settings, cases: list[Case]) -> list[Case]:
    """Publish them; the cases with their places."""
    sent = publish(settings, [case.sent for case in cases])
    return [case._replace(sent=each) for case, each in zip(cases, sent, strict=True)]


def test_every_kind_of_bad_message_has_its_reason_and_good_ones_around_them_arrive(
    settings: Settings, log: str, store: Store, tmp_path: Path, chance: random.Random
) -> None:
    cases = bad_messages() + odd_messages()
    cases += [Case(bomb.name, bomb.reason, Sent(bomb.name.encode(), bomb.value)) for bomb in bombs()]
    cases += [Case(f"good {n}", "", Sent(f"good/{n}".encode(), picture(n))) for n in range(100)]
    upright = Case("upright", "", Sent(b"upright", encoded(coloured(), "PNG")))
    cases.append(upright)
    chance.shuffle(cases)
    cases = [case._replace(sent=case.sent._replace(partition=chance.randrange(2))) for case in cases]
    with running_embedder(settings, tmp_path) as embedder:
        sent = send(settings, cases)
        last = [Case(f"last of {n}", "", Sent(f"last/{n}".encode(), picture(200 + n), (), n)) for n in range(2)]
        sent += send(settings, last)
        check(settings, log, store, sent)
        assert embedder.process.poll() is None, "the embedder died"
    rows = wait_for_feed(store, settings, log, [case.sent for case in sent])
    by_name = {case.name: rows[case.sent.partition, case.sent.offset] for case in sent}
    for orientation in range(1, 9):
        assert by_name[f"EXIF {orientation}"].embedding == by_name["upright"].embedding


async def publish_zeros(settings: Settings, sizes: list[int], codec: str) -> list[int]:
    """Publish values of zeros to partition 0 in one compressed batch; their offsets."""
    client = AIOKafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap,
        compression_type=codec,
        max_request_size=2 * ZEROS_BYTES,
        max_batch_size=2 * ZEROS_BYTES,
        linger_ms=500,
    )
    await client.start()
    try:
        futures = [await client.send(settings.kafka_topic, key=b"z", value=bytes(n), partition=0) for n in sizes]
        return [(await future).offset for future in futures]
    finally:
        await client.stop()


@pytest.mark.thorough
@pytest.mark.parametrize(("codec", "count"), [("gzip", 1), ("zstd", 2)])
def test_zeros_in_a_compressed_batch_are_refused_within_bounded_memory(
    settings: Settings, log: str, store: Store, tmp_path: Path, codec: str, count: int
) -> None:
    good = Case("before", "", Sent(b"good/1", picture(1)))
    with running_embedder(settings, tmp_path) as embedder:
        before = send(settings, [good])
        check(settings, log, store, before)
        small = peak_bytes(embedder)
        sizes = [ZEROS_BYTES // count] * count
        offsets = asyncio.run(publish_zeros(settings, sizes, codec))
        zeros = [
            Case(f"zeros {n}", "too-large", Sent(b"z", bytes(size), (), 0, offset))
            for n, (size, offset) in enumerate(zip(sizes, offsets, strict=True))
        ]
        after = send(settings, [good._replace(name="after")])
        check(settings, log, store, [*before, *zeros, *after])
        # As it is unpacked, and as the records' own values.
        assert peak_bytes(embedder) - small < 3 * ZEROS_BYTES
        assert min(sizes) > IMAGE_SIZE_BYTES_MAX


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ("MEMORY_LIMIT_BYTES = 260 * 1024**2", "decoder-memory"),
        ("Decoder.__init__.__kwdefaults__['cpu_limit_s'] = 0.1", "decoder-timeout"),
    ],
)
def test_image_that_ends_the_decoder_is_refused_and_its_neighbours_arrive(
    settings: Settings, log: str, store: Store, tmp_path: Path, limit: str, reason: str
) -> None:
    costly = encoded(Image.new("RGB", (4900, 5000)), "JPEG", progressive=True)
    cases = [Case(f"good {n}", "", Sent(f"good/{n}".encode(), picture(n), (), n % 2)) for n in range(40)]
    cases[10:10] = [Case("costly", reason, Sent(b"costly", costly))]
    cases[30:30] = [Case("costly again", reason, Sent(b"costly", costly, (), 1))]
    # A helper has limits of its own, which this program does not change.
    settings = settings.model_copy(update={"decoders": 1})
    # No image that the other limits let pass comes to the usual ones.
    program = f"""
import sys
from model.pictures import decoder
from workers.__main__ import main
decoder.{limit}
sys.exit(main(["embedder"]))
"""
    with running_embedder(settings, tmp_path, program=("-c", program)) as embedder:
        check(settings, log, store, send(settings, cases))
        assert embedder.process.poll() is None, "the embedder died"


def peak_bytes(embedder: Embedder) -> int:
    """The most memory that the embedder has had so far, without its children."""
    status = Path(f"/proc/{embedder.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024
