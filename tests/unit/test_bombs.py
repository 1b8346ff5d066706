"""Files that ask for far more than they hold: each has its reason within the child's limits, and the next image goes on."""

import psutil

from model.pictures.decoder import Decoder
from tests.bombs import bombs, large_animation
from tests.decoders import decoders_of
from tests.unit.test_images import DIGIT


def test_every_bomb_has_its_reason_within_the_limits_and_its_neighbours_go_on() -> None:
    decoder = Decoder("report-autoencoder")
    try:
        decoder.decode([])
        before = {child.pid for child in decoders_of(psutil.Process())}
        tried = bombs()
        found = {}
        for bomb in tried:
            first, verdict, last = decoder.decode([DIGIT, bomb.value, DIGIT]).images
            assert (first.reason, last) == ("", first), bomb.name
            found[bomb.name] = verdict.reason
        assert found == {bomb.name: bomb.reason for bomb in tried}
        assert {child.pid for child in decoders_of(psutil.Process())} == before, "a bomb ended the child"
    finally:
        decoder.close()


def test_outcomes_are_the_same_beside_what_takes_nearly_all_memory() -> None:
    """Every damaged file may then be one for which memory was lacking, and is decoded again."""
    damaged = {bomb.name.partition(":")[0]: bomb for bomb in bombs() if bomb.reason in ("corrupt", "truncated")}
    large = large_animation()
    decoder = Decoder("report-autoencoder")
    try:
        values = [large, *(bomb.value for bomb in damaged.values()), large, DIGIT]
        found = [image.reason for image in decoder.decode(values).images]
        assert len(damaged) > 5 and found == ["", *(bomb.reason for bomb in damaged.values()), "", ""]
    finally:
        decoder.close()
