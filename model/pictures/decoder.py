"""Decodes and embeds images in a child process with limits; what parent and child send each other."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np

from contract.messages import IMAGE_PIXELS_MAX
from contract.settings import absolute
from model.encoder import load_encoder
from model.limited_process import (
    CPU_LIMIT_S,
    MEMORY_LIMIT_BYTES,
    TRIES,
    WALL_LIMIT_S,
    LimitedProcess,
    ProcessEndedError,
)

# What the libraries say of a file also when it is memory that they lack.
DOUBTFUL_REASONS = ("corrupt", "truncated")
# None of them asks for more at a time: 8 bytes for each pixel.
BLOCK_SIZE_BYTES_MAX = 8 * IMAGE_PIXELS_MAX
# What one question holds at most, unless it is a single image: the child has it beside the picture.
QUESTION_SIZE_BYTES_MAX = 8 * 1024 * 1024


class Decoded(msgspec.Struct, frozen=True, array_like=True):
    """What became of one image: a pure function of its bytes and the encoder.

    Attributes:
        reason: "" when it was embedded, else the stable code of why not; `detail` says it for people.
        embedding: little-endian float32, as many as the encoder's dimensions and all finite; empty when refused.
        width, height: pixels, after EXIF orientation.
        pixels_sha256, thumbnail: see `model.pictures.images.Picture`.
        is_truncated: see `model.pictures.images.Picture`.
        hypotheses: embeddings of what the image may be beside itself, by name (`model.pictures.hypotheses`), when they were asked for.
    """

    reason: str
    detail: str
    embedding: bytes = b""
    media_type: str = ""
    width: int = 0
    height: int = 0
    pixels_sha256: bytes = b""
    thumbnail: bytes = b""
    hypotheses: dict[str, bytes] = {}
    is_truncated: bool = False


class DecoderQuestion(msgspec.Struct, frozen=True, array_like=True):
    """Encoded images, and whether each one's hypotheses are embedded too."""

    values: list[bytes]
    with_hypotheses: bool = False


class DecoderAnswer(msgspec.Struct, frozen=True, array_like=True):
    """What became of each image, in order, the seconds spent on all of them, and the processor time of both."""

    images: list[Decoded]
    decode_s: float = 0.0
    encode_s: float = 0.0
    processor_s: float = 0.0


def joined(images: list[Decoded], answers: Sequence[DecoderAnswer]) -> DecoderAnswer:
    """These images, and what all of the answers took together."""
    return DecoderAnswer(
        images,
        sum(answer.decode_s for answer in answers),
        sum(answer.encode_s for answer in answers),
        sum(answer.processor_s for answer in answers),
    )


class Decoder(LimitedProcess):
    """Decodes and embeds images in a child of its own (`model.pictures.decoder_program`).

    Args:
        accept_truncated: take a JPEG or PNG that lacks its end; None leaves it to the encoder's card.
        encoders_dir: folder of the imported encoders; None is what the environment's settings name.
    """

    def __init__(
        self,
        encoder: str,
        *,
        encoders_dir: Path | None = None,
        accept_truncated: bool | None = None,
        cpu_limit_s: float = CPU_LIMIT_S,
        memory_limit_bytes: int | None = None,
        wall_limit_s: float = WALL_LIMIT_S,
    ) -> None:
        memory_limit_bytes = MEMORY_LIMIT_BYTES if memory_limit_bytes is None else memory_limit_bytes
        truncated = "" if accept_truncated is None else str(accept_truncated).lower()
        # The child runs in another folder.
        imported = "" if encoders_dir is None else str(absolute(encoders_dir))
        super().__init__(
            "decoder",
            program="model.pictures.decoder_program",
            arguments=[encoder, truncated, str(cpu_limit_s), str(memory_limit_bytes), imported],
            wall_limit_s=wall_limit_s,
        )
        self._encoder, self._encoders_dir = encoder, encoders_dir
        self._is_fresh = True

    def decode(self, values: Sequence[bytes], *, with_hypotheses: bool = False, is_final: bool = True) -> DecoderAnswer:
        """What becomes of each image, in order, on request with the embeddings of its hypotheses. Blocks.

        When the child ends, every image is tried again alone; one that ends it on both of its own tries as well is
        refused as ``decoder-timeout``, ``decoder-memory`` or ``decoder-crashed``. An image that seems damaged to a child
        that may have lacked memory for it is decoded again alone in a new one, so that what was decoded before changes nothing.

        Args:
            is_final: False leaves it to the caller to doubt refusals.

        Raises:
            DependencyError: a child cannot be started, which is no image's fault.
        """
        answers: list[DecoderAnswer] = []
        with self._lock:
            for part in _parts(values):
                try:
                    answers.append(self._ask(DecoderQuestion(part, with_hypotheses), is_final=is_final))
                except ProcessEndedError:
                    alone = (DecoderQuestion([value], with_hypotheses) for value in part)
                    answers += [self._ask_alone(question, is_final=is_final) for question in alone]
        return joined([image for answer in answers for image in answer.images], answers)

    @cached_property
    def _dimensions(self) -> int:
        return load_encoder(self._encoder, self._encoders_dir).dimensions

    def _ask_alone(self, question: DecoderQuestion, *, is_final: bool) -> DecoderAnswer:
        reason = ""
        for _ in range(TRIES):
            try:
                return self._ask(question, is_final=is_final)
            except ProcessEndedError as ended:
                reason = f"decoder-{ended.reason}"
        return DecoderAnswer([Decoded(reason, f"The decoder ended on this image, {TRIES} times on it alone.")])

    def _ask(self, question: DecoderQuestion, *, is_final: bool) -> DecoderAnswer:
        is_fresh = self._child is None or self._is_fresh
        answer = self._call(question, DecoderAnswer)
        self._is_fresh = is_fresh and not question.values
        if len(answer.images) != len(question.values):
            self._end()
            raise ProcessEndedError("crashed")
        images = [_with_sound_embedding(image, self._dimensions) for image in answer.images]
        is_certain = not is_final or (is_fresh and len(images) == 1) or not self._may_have_lacked_memory()
        for place, image in enumerate(images):
            if not is_certain and image.reason in DOUBTFUL_REASONS:
                if self._may_have_lacked_memory():
                    self._end()
                alone = DecoderQuestion([question.values[place]], question.with_hypotheses)
                (images[place],) = self._ask_alone(alone, is_final=True).images
        return joined(images, [answer])

    def _may_have_lacked_memory(self) -> bool:
        room_bytes = self._room_bytes()
        return room_bytes is not None and room_bytes < BLOCK_SIZE_BYTES_MAX


def _parts(values: Sequence[bytes]) -> Iterator[list[bytes]]:
    """The values in order, in questions of bounded size; a single empty one where there are none, which starts a child."""
    part: list[bytes] = []
    size_bytes = 0
    for value in values:
        size_bytes += len(value)
        if part and size_bytes > QUESTION_SIZE_BYTES_MAX:
            yield part
            part, size_bytes = [], len(value)
        part.append(value)
    yield part


def _with_sound_embedding(image: Decoded, dimensions: int) -> Decoded:
    """The image, or its refusal where its embedding is not what the index can hold: an encoder's fault, whatever the image."""
    if image.reason:
        return image
    for embedding in (image.embedding, *image.hypotheses.values()):
        is_whole = len(embedding) == 4 * dimensions
        if not is_whole or not np.isfinite(np.frombuffer(embedding, "<f4")).all():
            what = "numbers that are not finite" if is_whole else f"{len(embedding)} bytes"
            return Decoded("encoder-failed", f"The encoder gave {what}, expected {dimensions} finite float32.")
    return image
