"""Every kind of bad message has its stable reason, and odd ones that are good are embedded."""

from collections.abc import Iterator

import pytest

from model.pictures.decoder import Decoder
from tests.bad_messages import Case, bad_messages, odd_messages
from workers.embedder.outcomes import judge
from workers.embedder.records import Record


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    opened = Decoder("report-autoencoder")
    yield opened
    opened.close()


@pytest.mark.parametrize("case", [*bad_messages(), *odd_messages()], ids=lambda case: case.name)
def test_message_has_its_reason(decoder: Decoder, case: Case) -> None:
    sent = case.sent
    judged = judge(Record(0, 0, 0, 0, sent.key, sent.value, sent.headers))
    reason = judged.reason
    if judged.outcome == "put":
        reason = decoder.decode([sent.value or b""]).images[0].reason
    assert reason == case.reason
