"""The decoder child: one verdict an image whatever the bytes do to it, and nothing left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image
from structlog.testing import capture_logs

from contract.errors import DependencyError
from model import mnist
from model.encoder import load_encoder
from model.limited_process import MEMORY_LIMIT_BYTES, SAID_SIZE_BYTES_MAX
from model.pictures.decoder import Decoder
from model.pictures.hypotheses import NAMES, WHOLE
from tests.bad_messages import padded
from tests.decoders import decoders_of
from tests.unit.test_images import DIGIT, encoded, picture


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    opened = Decoder("report-autoencoder")
    yield opened
    opened.close()


def reasons(decoder: Decoder, *values: bytes) -> list[str]:
    return [verdict.reason for verdict in decoder.decode(values).images]


def test_child_gives_one_verdict_an_image_in_order(decoder: Decoder) -> None:
    verdicts = decoder.decode([DIGIT, b"%PDF-1.7", DIGIT[:-30], DIGIT]).images
    assert [verdict.reason for verdict in verdicts] == ["", "unsupported-type", "truncated", ""]
    assert verdicts[0] == verdicts[3]
    expected = load_encoder("report-autoencoder").embed(mnist.pixels("test")[0])
    assert (np.frombuffer(verdicts[0].embedding, "<f4") == expected).all()
    assert (verdicts[0].media_type, verdicts[0].width, verdicts[0].height) == ("image/png", 28, 28)


def test_verdict_does_not_depend_on_the_images_before(decoder: Decoder) -> None:
    digits = [mnist.png(image) for image in mnist.images("test")[:50]]
    together = decoder.decode(digits).images
    assert decoder.decode(digits[::-1]).images == together[::-1]
    assert [decoder.decode([digit]).images[0] for digit in digits[:5]] == together[:5]


@pytest.mark.parametrize(
    ("limits", "reason"),
    [({"cpu_limit_s": 0.05}, "decoder-timeout"), ({"memory_limit_bytes": 260 * 1024**2}, "decoder-memory")],
)
def test_image_that_costs_too_much_is_refused_and_its_neighbours_are_not(limits: dict[str, Any], reason: str) -> None:
    costly = encoded(Image.new("RGB", (4900, 5000)), "PNG")
    decoder = Decoder("report-autoencoder", **limits)
    try:
        assert reasons(decoder, DIGIT, costly, DIGIT) == ["", reason, ""]
    finally:
        decoder.close()


def test_largest_image_that_is_allowed_is_decoded_within_the_limits(decoder: Decoder) -> None:
    largest = picture(50, 50).resize((8165, 6123))
    largest.putalpha(128)
    assert reasons(decoder, encoded(largest, "PNG", compress_level=1)) == [""]


def test_an_image_that_seems_damaged_for_want_of_memory_is_decoded_in_a_new_child() -> None:
    """Pillow says so of a WebP; beside a large file less memory is left for it than alone."""
    coloured = picture(50, 50).resize((2000, 1500), Image.Resampling.BICUBIC)
    costly = encoded(coloured, "WEBP", lossless=True, quality=0, method=0)
    large, damaged = padded(DIGIT, 7 * 1024**2), DIGIT[:50] + bytes(10) + DIGIT[60:]
    decoder = Decoder("report-autoencoder")
    try:
        assert reasons(decoder, damaged, costly) == ["corrupt", ""]
        room_bytes = decoder._room_bytes()
        assert room_bytes is not None
    finally:
        decoder.close()
    decoder = Decoder("report-autoencoder", memory_limit_bytes=MEMORY_LIMIT_BYTES - room_bytes + 2 * 1024**2)
    try:
        assert decoder.decode([large, costly], is_final=False).images[1].reason == "corrupt"
        assert reasons(decoder, large, costly, damaged, DIGIT) == ["", "", "corrupt", ""]
    finally:
        decoder.close()


def test_child_that_crashes_sometimes_costs_no_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_FAILPOINTS", "decoder-image:2")
    decoder = Decoder("report-autoencoder")
    try:
        assert reasons(decoder, DIGIT, DIGIT, DIGIT) == ["", "", ""]
    finally:
        decoder.close()


def test_image_that_crashes_the_child_every_time_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_FAILPOINTS", "decoder-image")
    decoder = Decoder("report-autoencoder")
    try:
        assert reasons(decoder, DIGIT) == ["decoder-crashed"]
    finally:
        decoder.close()


def test_child_that_is_killed_or_stopped_is_replaced() -> None:
    decoder = Decoder("report-autoencoder", wall_limit_s=2)
    try:
        for number in (signal.SIGKILL, signal.SIGSTOP):
            assert reasons(decoder, DIGIT) == [""]
            list(decoders_of(psutil.Process()))[-1].send_signal(number)
            assert reasons(decoder, DIGIT, DIGIT) == ["", ""]
    finally:
        decoder.close()


def test_child_that_cannot_start_is_no_images_fault() -> None:
    with pytest.raises(DependencyError, match=r"(?s)before it was ready: .*no-such-encoder"):
        Decoder("no-such-encoder").decode([DIGIT])
    assert "no-such-encoder" not in decoders_of(psutil.Process()).values()


def test_child_is_small_and_loads_no_client_and_no_tensorflow(decoder: Decoder) -> None:
    decoder.decode([DIGIT] * 200)
    child = max(decoders_of(psutil.Process()), key=lambda process: process.create_time())
    assert child.memory_info().rss <= 100e6
    loaded = "\n".join(mapped.path for mapped in child.memory_maps())
    assert "litert" in loaded
    assert not [name for name in ("/tensorflow/", "/scipy/", "/cassandra/", "/numba/") if name in loaded]


def test_what_libraries_say_of_hostile_files_floods_no_log(capfd: pytest.CaptureFixture[str]) -> None:
    damaged = bytearray(encoded(picture(60, 60), "TIFF", compression="tiff_adobe_deflate"))
    start = damaged.index(b"\x78\x9c")
    damaged[start + 2 : start + 200] = bytes(198)
    decoder = Decoder("report-autoencoder")
    try:
        assert reasons(decoder, *[bytes(damaged)] * 30, DIGIT) == ["corrupt"] * 30 + [""]
        child = decoder._child
        assert child is not None
    finally:
        decoder.close()
    assert b"Decod" in child._said and len(child._said) <= SAID_SIZE_BYTES_MAX
    assert capfd.readouterr().err == ""


def test_what_a_child_said_before_it_crashed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here Python's own word on a fatal signal."""
    monkeypatch.setenv("PYTHONFAULTHANDLER", "1")
    decoder = Decoder("report-autoencoder")
    try:
        decoder.decode([])
        list(decoders_of(psutil.Process()))[-1].send_signal(signal.SIGSEGV)
        with capture_logs() as logs:
            assert reasons(decoder, DIGIT) == [""]
        (told,) = [line for line in logs if line["event"] == "child_crashed"]
        assert told["child"] == "decoder" and any("Segmentation fault" in line for line in told["said"])
    finally:
        decoder.close()


def test_child_ends_with_its_parent() -> None:
    program = "from model.pictures.decoder import Decoder; d = Decoder('report-autoencoder'); d.decode([]); print(1, flush=True); input()"
    parent = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdout is not None and parent.stdin is not None
    with parent:
        assert parent.stdout.readline() == b"1\n"
        (child,) = decoders_of(psutil.Process(parent.pid))
        os.kill(parent.pid, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while child.is_running() and child.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_child_embeds_hypotheses_when_asked(decoder: Decoder) -> None:
    encoder = load_encoder("report-autoencoder")
    plain, refused = decoder.decode([DIGIT, DIGIT[:-30]], with_hypotheses=True).images
    assert list(plain.hypotheses) == [name for name in NAMES if name != WHOLE]
    mirrored = np.ascontiguousarray(mnist.images("test")[0][:, ::-1])
    expected = encoder.embed(encoder.pixels(Image.fromarray(mirrored)))
    assert plain.hypotheses["mirrored"] == expected.astype("<f4").tobytes()
    assert (refused.reason, refused.hypotheses) == ("truncated", {})
    assert decoder.decode([DIGIT]).images[0].hypotheses == {}
