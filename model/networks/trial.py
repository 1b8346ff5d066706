"""Tries a network in a child process with limits, before it becomes an encoder: what came from outside may crash, fill or stall its process.

python -m model.networks.trial …     is the child's program; `try_network` starts it.
"""

import signal
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
from PIL import Image

from contract.errors import ConfigurationError
from model.limited_process import CPU_LIMIT_S, LimitedProcess, ProcessEndedError
from model.limited_program import answer_questions, ended_when_out_of_memory
from model.networks.fitting import check_answer, fitted
from model.networks.runtimes import Network, open_network
from model.networks.steps import Steps
from model.soundness import hard_pictures

# Loading a network of 350 MB takes a second or two.
LOADING_LIMIT_S = 60.0
TRIAL_LIMIT_S = 300.0
# Beside the program itself: a network is read, unpacked and rewritten, each of which takes its size.
TRIAL_MEMORY_LIMIT_BYTES = 2 * 1024**3
COPIES_OF_THE_FILE = 6
# Of the 4 s that a picture has, most are for decoding it.
PICTURE_LIMIT_S = 1.0
# Of an embedding's length; what merely rounds differently is nearer than that.
DIFFERENT = 1e-5
_SIDE_PX = 256


class Trial(msgspec.Struct, frozen=True, array_like=True):
    """What became of a trial.

    Attributes:
        error: why the network cannot be used, for people; "" when it can.
        steps: with the network's own type and output.
        embeddings: little-endian float32 of `hard_pictures`, in their order.
        seconds: of CPU a picture, the median.
    """

    error: str
    steps: Steps | None = None
    dimensions: int = 0
    embeddings: bytes = b""
    seconds: float = 0.0


class _Question(msgspec.Struct, frozen=True, array_like=True):
    path: str
    steps: Steps


class _Trying(LimitedProcess):
    def ask(self, question: _Question) -> Trial:
        with self._lock:
            return self._call(question, Trial)


def try_network(path: Path, steps: Steps) -> Trial:
    """Load the network in a child and embed pictures with it; its answer has no error.

    Raises:
        ConfigurationError: the network cannot be used; the message says why and what to do.
        DependencyError: no child can be started.
    """
    memory_limit_bytes = TRIAL_MEMORY_LIMIT_BYTES + COPIES_OF_THE_FILE * path.stat().st_size
    trying = _Trying(
        "trial",
        program="model.networks.trial",
        arguments=[str(memory_limit_bytes)],
        wall_limit_s=TRIAL_LIMIT_S,
    )
    try:
        trial = trying.ask(_Question(str(path), steps))
    except ProcessEndedError as ended:
        why = {
            "timeout": f"it took longer than {LOADING_LIMIT_S:g} s of CPU to load, or {CPU_LIMIT_S:g} s for a picture",
            "memory": f"it took more than {memory_limit_bytes / 1e9:.1f} GB of memory",
        }.get(ended.reason, "the process that tried it crashed, so the file is damaged or made to do harm")
        raise ConfigurationError(f"The network cannot be used: {why}.") from ended
    finally:
        trying.close()
    if trial.error:
        raise ConfigurationError(trial.error)
    return trial


def distinct_pictures() -> list[Image.Image]:
    """Pictures that any encoder tells apart."""
    side = (_SIDE_PX, _SIDE_PX)
    ramp, rings = Image.linear_gradient("L"), Image.radial_gradient("L")
    noise = np.random.default_rng(1).integers(0, 256, (*side, 3), np.uint8)
    stripes = Image.fromarray(np.tile(np.arange(_SIDE_PX) // 16 % 2 * 255, (_SIDE_PX, 1)).astype(np.uint8))
    return [
        Image.merge("RGB", (ramp, rings, stripes)),
        Image.merge("RGB", (rings.rotate(90), ramp.rotate(180), ramp)),
        Image.fromarray(noise),
        stripes.convert("RGB"),
        Image.merge("RGB", (stripes.rotate(90), rings, ramp.rotate(90))),
    ]


def _answer(question: _Question) -> Trial:
    signal.setitimer(signal.ITIMER_PROF, LOADING_LIMIT_S)  # SIGPROF's default action ends the process
    try:
        return _tried(Path(question.path), question.steps)
    except ConfigurationError as error:
        return Trial(str(error))
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _tried(path: Path, given: Steps) -> Trial:
    network = _opened(path, given)
    steps = fitted(given, network)
    signal.setitimer(signal.ITIMER_PROF, CPU_LIMIT_S)
    (gives,) = (each for each in network.outputs if each.name == steps.output)
    blank = _run(network, steps, Image.new("RGB", (steps.width, steps.height)))
    dimensions = check_answer(blank.shape, gives)
    embeddings, seconds, wrong = [], [], []
    pictures = hard_pictures()
    for name, picture in pictures.items():
        signal.setitimer(signal.ITIMER_PROF, CPU_LIMIT_S)
        began = time.process_time()
        answer = _run(network, steps, picture)
        embeddings.append(steps.finished(answer))
        seconds.append(time.process_time() - began)
        if not np.isfinite(embeddings[-1]).all() and steps.pixels(picture).any():
            wrong.append(name)
        if answer.shape != blank.shape:
            raise ConfigurationError(
                f"The network answers {blank.shape} for one picture and {answer.shape} for another."
            )
    if wrong:
        raise ConfigurationError(
            f"The network gives numbers that are not finite for {len(wrong)} of {len(pictures)} pictures: {', '.join(wrong)}. "
            "Where it divides by a length, add a small number to it; and see whether --mean and --scale are its own."
        )
    if (median := float(np.median(seconds))) > PICTURE_LIMIT_S:
        raise ConfigurationError(
            f"The network takes {median:.1f} s for a picture on one core, expected at most {PICTURE_LIMIT_S:g} s. Export a smaller "
            "one, or one for smaller pictures."
        )
    _check_differences(network, steps)
    embedded = np.stack(embeddings)
    embedded[~np.isfinite(embedded).all(1)] = 0  # of pixels that are all zero, as `Encoder.embed` does
    return Trial("", steps, dimensions, embedded.astype("<f4").tobytes(), median)


def _opened(path: Path, steps: Steps) -> Network:
    try:
        return open_network(path, steps.shape)
    except ConfigurationError:
        raise
    except Exception as error:  # what the runtimes raise has no common type
        raise ConfigurationError(f"The network cannot be loaded: {_why(str(error))}") from error


def _run(network: Network, steps: Steps, picture: Image.Image) -> "np.ndarray[tuple[int, ...], np.dtype[np.generic]]":
    try:
        return network.run(steps.pixels(picture), steps.output)
    except Exception as error:  # as above
        raise ConfigurationError(f"The network cannot be run: {_why(str(error))}") from error


def _why(said: str) -> str:
    """What the runtime said, with what to do."""
    said = " ".join(said.split()).rstrip(".")[:400]
    lowered = said.lower()
    if "external data" in lowered:
        return f"its weights lie in another file. Save it as one file: onnx.save_model(model, …, save_as_external_data=False). ({said})"
    if any(
        sign in lowered for sign in ("not a registered function", "no op registered", "custom op", "flex", "unresolved")
    ):
        return f"it has operations that the runtime does not bring, and further libraries are never loaded. ({said})"
    if any(
        sign in lowered
        for sign in ("protobuf", "no graph", "flatbuffer", "identifier", "not a valid", "could not open")
    ):
        return f"the file is damaged, cut short, or no network of this kind. ({said})"
    return f"{said}."


def _check_differences(network: Network, steps: Steps) -> None:
    found = np.stack([steps.finished(_run(network, steps, picture)) for picture in distinct_pictures()]).astype(
        np.float64
    )
    apart = np.linalg.norm(found[:, None] - found[None], axis=-1)[np.triu_indices(len(found), 1)]
    if not (apart > DIFFERENT * np.linalg.norm(found, axis=1).max()).all():
        raise ConfigurationError(
            "The network gives the same embedding for pictures that have nothing in common. Its weights may be read wrongly, or "
            "--mean and --scale may not be its own: values from 0 to 255 become (value - mean) / scale."
        )
    again = np.stack([steps.finished(_run(network, steps, picture)) for picture in distinct_pictures()])
    if not np.array_equal(found, again):
        raise ConfigurationError(
            "The network gives another embedding for the same picture each time. Export it without dropout or other chance."
        )


if __name__ == "__main__":
    descriptor, memory_bytes = map(int, sys.argv[1:])
    ended_when_out_of_memory(lambda: answer_questions(descriptor, memory_bytes, _Question, _answer, may_read=True))
