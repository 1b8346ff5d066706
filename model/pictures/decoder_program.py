"""The decoder child's program; `model.pictures.decoder` starts it and says what it is for.

Loads Pillow, NumPy and LiteRT (or, for an imported ONNX network, ONNX Runtime), nothing else of weight: 60 MB instead of TensorFlow's 670.
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from PIL import Image

from contract.errors import RejectedError
from model.encoder import Encoder, load_encoder
from model.limited_program import address_space_bytes, answer_questions, ended_when_out_of_memory, limit_cpu
from model.pictures.decoder import Decoded, DecoderAnswer, DecoderQuestion
from model.pictures.hypotheses import WHOLE, hypotheses
from model.pictures.images import Picture, decode
from model.pictures.pillow import samples
from runtime.failpoints import failpoint

# Shorter side, in pixels, that a picture keeps when it is reduced for an encoder of photographs: no encoder looks at more.
PICTURE_SIDE_PX = 768


def main(
    descriptor: int,
    encoder_name: str,
    accept_truncated: bool | None,
    cpu_limit_s: float,
    memory_limit_bytes: int,
    encoders_dir: Path | None,
) -> None:
    """Answer frames until the parent closes its end, which it also does by dying."""
    encoder = load_encoder(encoder_name, encoders_dir)
    before_bytes = address_space_bytes()
    _warm_up(encoder)
    if encoder.is_imported:  # the limit is for networks of a few MB; beside a large one, pictures are to have as much
        memory_limit_bytes += max(0, address_space_bytes() - before_bytes)
    decoding = _decoding(encoder, accept_truncated)
    answer_questions(
        descriptor, memory_limit_bytes, DecoderQuestion, lambda asked: _answer(encoder, decoding, asked, cpu_limit_s)
    )


def _decoding(encoder: Encoder, accept_truncated: bool | None) -> Callable[..., Picture]:
    """How pictures are decoded for the encoder; one that knows drawings sees every pixel."""
    return partial(
        decode,
        thumbnail_side_px=encoder.thumbnail_side_px,
        picture_side_px=None if encoder.card["knows_drawings"] else PICTURE_SIDE_PX,
        accept_truncated=encoder.card["accepts_truncated"] if accept_truncated is None else accept_truncated,
    )


def _answer(
    encoder: Encoder, decoding: Callable[..., Picture], asked: DecoderQuestion, cpu_limit_s: float
) -> DecoderAnswer:
    images = []
    decode_s = encode_s = 0.0
    before_s = time.process_time()
    for value in asked.values:
        failpoint("decoder-image")
        limit_cpu(cpu_limit_s)
        began = time.perf_counter()
        try:
            picture = decoding(value, when_measured=partial(limit_cpu, cpu_limit_s))
        except RejectedError as error:
            images.append(Decoded(error.reason, error.detail))
            continue
        decoded = time.perf_counter()
        embedding = _embedding(encoder, picture.image)
        others = _hypotheses(encoder, picture.image, cpu_limit_s) if asked.with_hypotheses else {}
        encode_s += time.perf_counter() - decoded
        decode_s += decoded - began
        images.append(
            Decoded(
                "",
                "",
                embedding,
                picture.media_type,
                picture.width,
                picture.height,
                picture.pixels_sha256,
                picture.thumbnail,
                others,
                picture.is_truncated,
            )
        )
        del picture  # the next one takes its room
    limit_cpu(0)
    return DecoderAnswer(images, decode_s, encode_s, time.process_time() - before_s)


def _hypotheses(encoder: Encoder, image: Image.Image, cpu_limit_s: float) -> dict[str, bytes]:
    """Embeddings of all hypotheses but the whole image, which may take as long again as the image itself did."""
    limit_cpu(cpu_limit_s)
    return {name: _embedding(encoder, picture) for name, picture in hypotheses(image) if name != WHOLE}


def _embedding(encoder: Encoder, image: Image.Image) -> bytes:
    return encoder.embed(encoder.pixels(image)).astype("<f4").tobytes()


def _warm_up(encoder: Encoder) -> None:
    """Load the interpreter and Pillow's plugins, so that neither counts as an image's time or memory."""
    for sample in samples():
        encoder.embed(encoder.pixels(decode(sample).image))


if __name__ == "__main__":
    descriptor, name, truncated, cpu_s, memory_bytes, imported = sys.argv[1:]
    asked = {"": None, "true": True, "false": False}[truncated]
    folder = Path(imported) if imported else None
    ended_when_out_of_memory(lambda: main(int(descriptor), name, asked, float(cpu_s), int(memory_bytes), folder))
