"""Several decoder children that share out a batch of costly images, so that all cores embed photographs."""

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from model.pictures.decoder import Decoded, Decoder, DecoderAnswer, joined

# However many cores there are: each child takes some 100 MB, and other programs want cores too.
DEFAULT_MAX = 4
# An image that costs less is not worth a second child. Digits take .2 ms of a core, photographs 10 and more; by the clock, anything
# does on a busy machine.
COSTLY_S = 0.001
# Small enough that nobody waits long for the last part, and a frame is still little beside it.
PART_S = 0.05
# What helpers may take together with the first child is to fit beside it, so they leave large images to it.
HELPER_MEMORY_LIMIT_BYTES = 448 * 1024**2
HELPER_IMAGE_SIZE_BYTES_MAX = 8 * 1024 * 1024


class Decoders:
    """Answers as one `Decoder` does. While images are cheap there is one child; helpers are started when they are needed.

    Args:
        open_decoder: makes a decoder whose child may take so much memory; None is what a `Decoder` usually may.
        count: of children at most; 0 is one for each core, up to 4.
    """

    def __init__(self, open_decoder: Callable[[int | None], Decoder], count: int = 0) -> None:
        count = count or min(os.cpu_count() or 1, DEFAULT_MAX)
        self._first = open_decoder(None)
        self._helpers = [open_decoder(HELPER_MEMORY_LIMIT_BYTES) for _ in range(count - 1)]
        self._threads = ThreadPoolExecutor(max(1, count - 1), thread_name_prefix="decoder")
        self._image_s = 0.0

    def decode(self, values: Sequence[bytes]) -> DecoderAnswer:
        """What becomes of each image, in order; as `Decoder.decode`, for one caller at a time.

        Raises:
            DependencyError: a child cannot be started, which is no image's fault.
        """
        is_shared = self._helpers and self._image_s >= COSTLY_S and len(values) > 1
        answer = self._shared_out(values) if is_shared else self._first.decode(values)
        if values:
            self._image_s = answer.processor_s / len(values)
        return answer

    def close(self) -> None:
        """End the children."""
        for decoder in (self._first, *self._helpers):
            decoder.close()
        self._threads.shutdown(wait=False)

    def _shared_out(self, values: Sequence[bytes]) -> DecoderAnswer:
        found: dict[int, Decoded] = {}
        doubtful: list[int] = []
        small = [place for place, value in enumerate(values) if len(value) <= HELPER_IMAGE_SIZE_BYTES_MAX]
        large = [place for place in range(len(values)) if len(values[place]) > HELPER_IMAGE_SIZE_BYTES_MAX]
        size = max(1, min(int(PART_S / self._image_s), len(small) // (1 + len(self._helpers))))
        waiting = deque(small[at : at + size] for at in range(0, len(small), size))

        def decode(decoder: Decoder, places: Sequence[int]) -> DecoderAnswer:
            is_helper = decoder is not self._first
            answer = decoder.decode([values[place] for place in places], is_final=not is_helper)
            found.update(zip(places, answer.images, strict=True))
            if is_helper:  # which lacks memory sooner, and libraries then say that a file is damaged
                doubtful.extend(place for place in places if found[place].reason)
            return answer

        def help_out(decoder: Decoder) -> list[DecoderAnswer]:
            answers = []
            while waiting:
                try:
                    places = waiting.popleft()
                except IndexError:  # another one was quicker
                    break
                answers.append(decode(decoder, places))
            return answers

        helping = [self._threads.submit(help_out, helper) for helper in self._helpers]
        answers = [decode(self._first, [place]) for place in large] + help_out(self._first)
        answers += [answer for helped in helping for answer in helped.result()]
        # Only the first child, with its limits, has the last word on what is refused.
        answers += [decode(self._first, [place]) for place in doubtful]
        return joined([found[place] for place in range(len(values))], answers)
