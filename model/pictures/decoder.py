"""The decoder child's program; `model.pictures.child` starts it and says what it is for.

Loads Pillow, NumPy and LiteRT, nothing else of weight: 60 MB instead of TensorFlow's 670.
"""

import signal
import sys
import time

from contract.errors import RejectedError
from contract.failpoints import failpoint
from model.encoder import Encoder, load_encoder
from model.pictures.child import Answer, Verdict
from model.pictures.confined import ended_when_out_of_memory, samples, serve
from model.pictures.images import decode


def main(descriptor: int, encoder_name: str, cpu_limit_s: float, memory_limit_bytes: int) -> None:
    """Answer frames until the parent closes its end, which it also does by dying."""
    encoder = load_encoder(encoder_name)
    _warm_up(encoder)
    serve(descriptor, memory_limit_bytes, list[bytes], lambda values: _answer(encoder, values, cpu_limit_s))


def _answer(encoder: Encoder, values: list[bytes], cpu_limit_s: float) -> Answer:
    verdicts = []
    decode_s = encode_s = 0.0
    for value in values:
        failpoint("decoder-image")
        signal.setitimer(signal.ITIMER_PROF, cpu_limit_s)  # SIGPROF's default action ends the process
        began = time.perf_counter()
        try:
            picture = decode(value)
        except RejectedError as error:
            verdicts.append(Verdict(error.reason, error.detail))
            continue
        decoded = time.perf_counter()
        embedding = encoder.embed(encoder.pixels(picture.image)).astype("<f4").tobytes()
        encode_s += time.perf_counter() - decoded
        decode_s += decoded - began
        verdicts.append(
            Verdict(
                "",
                "",
                embedding,
                picture.media_type,
                picture.width,
                picture.height,
                picture.pixels_sha256,
                picture.thumbnail,
            )
        )
    signal.setitimer(signal.ITIMER_PROF, 0)
    return Answer(verdicts, decode_s, encode_s)


def _warm_up(encoder: Encoder) -> None:
    """Load the interpreter and Pillow's plugins, so that neither counts as an image's time or memory."""
    for sample in samples():
        encoder.embed(encoder.pixels(decode(sample).image))


if __name__ == "__main__":
    ended_when_out_of_memory(lambda: main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4])))
