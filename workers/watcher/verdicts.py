"""What an image that matched is to the watch's own image: as a search with `explain` says it, within bounds."""

import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence

import structlog

from contract.errors import DependencyError
from gallery.store.records import Records
from gallery.store.rows import ImageRecord
from gallery.store.watches import StoredWatch, Watches
from model.verdicts.explainer import Explainer
from model.verdicts.frames import Kind, Shown
from workers.watcher.following import Hit

# Of one call, which is of up to 1,000 matches: what is left then goes without a verdict, and watches are told in time.
BUDGET_S = 0.25
_KEPT_SIZE_BYTES_MAX = 32 * 1024 * 1024

logger = structlog.get_logger()


class Verdicts:
    """Works out verdicts, in a child process that starts with the first one that needs it.

    Args:
        kind: of pictures that the encoder knows.
        clock: seconds that only go forward.
    """

    def __init__(
        self, records: Records, watches: Watches, *, kind: Kind, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._records, self._watches, self.kind, self._clock = records, watches, kind, clock
        self._explainer = Explainer()
        self._kept: OrderedDict[str, bytes] = OrderedDict()

    def of(self, hits: Sequence[Hit]) -> list[str | None]:
        """A verdict for each hit; None where the watch has no image, or it could not be had."""
        wanted: dict[str, list[int]] = defaultdict(list)
        for number, hit in enumerate(hits):
            if hit.watch.image is not None:
                wanted[hit.watch.id].append(number)
        found: list[str | None] = [None] * len(hits)
        if not wanted:
            return found
        ends = self._clock() + BUDGET_S
        try:
            records = self._records.read(list({hits[n].row.key for numbers in wanted.values() for n in numbers}))
            for numbers in wanted.values():
                watch = hits[numbers[0]].watch
                known = [(n, records[hits[n].row.key]) for n in numbers if hits[n].row.key in records]
                for n, verdict in self._of_watch(watch, known, ends):
                    found[n] = verdict
        except DependencyError as error:
            logger.warning("no verdicts", detail=error.detail)
        return found

    def close(self) -> None:
        """End the child."""
        self._explainer.close()

    def _of_watch(
        self, watch: StoredWatch, known: Sequence[tuple[int, ImageRecord]], ends: float
    ) -> list[tuple[int, str | None]]:
        told: list[tuple[int, str | None]] = [(n, same) for n, record in known if (same := _same(watch, record))]
        named = {n for n, _ in told}
        asked = [(n, record) for n, record in known if n not in named]
        if not asked or self._clock() > ends:
            return told
        assert watch.image is not None
        shown = Shown(self._image(watch.id), watch.image.width, watch.image.height)
        stored = [Shown(record.thumbnail, record.width, record.height) for _, record in asked]
        explained = self._explainer.explanations(shown, stored, self.kind) or []
        return told + [(n, each.verdict or None) for (n, _), each in zip(asked, explained, strict=False)]

    def _image(self, watch_id: str) -> bytes:
        if watch_id not in self._kept:
            self._kept[watch_id] = self._watches.read_image(watch_id)
            while len(self._kept) > 1 and sum(map(len, self._kept.values())) > _KEPT_SIZE_BYTES_MAX:
                self._kept.popitem(last=False)
        self._kept.move_to_end(watch_id)
        return self._kept[watch_id]


def _same(watch: StoredWatch, record: ImageRecord) -> str:
    assert watch.image is not None
    if record.bytes_sha256 == watch.image.bytes_sha256:
        return "same bytes"
    return "same pixels" if record.pixels_sha256 == watch.image.pixels_sha256 else ""
