"""How long generations are kept: what was published lately stays, for readers that are about to open it."""

from collections import deque
from collections.abc import Callable
from operator import itemgetter
from pathlib import Path

from contract.errors import IndexDamagedError
from gallery.generations.files import discard
from gallery.generations.manifest import Manifest, read_manifest
from runtime.failpoints import failpoint

GENERATIONS_KEPT = 8
GENERATIONS_KEPT_S = 60.0


class Retention:
    """Deletes generations that are neither among the last 8 nor younger than a minute, and files that only they used.

    Args:
        clock: seconds that only go forward.
        wall_clock: seconds since 1970, as the file system gives them to files.
    """

    def __init__(self, index_dir: Path, *, clock: Callable[[], float], wall_clock: Callable[[], float]) -> None:
        self._index_dir = index_dir
        self._clock = clock
        self._wall_clock = wall_clock
        self._published: deque[tuple[float, str, Manifest]] = deque()

    def note(self, name: str, manifest: Manifest) -> None:
        """Note that a generation was published now, and delete what is due."""
        self._published.append((self._clock(), name, manifest))
        self._prune()

    def take_over(self, name: str, manifest: Manifest) -> None:
        """Know what earlier writers published, so that it is deleted in its turn, and delete what they had not finished.

        Args:
            name: of the current generation, which `manifest` describes.
        """
        found = []
        for path in (self._index_dir / "generations").iterdir():
            try:
                earlier = read_manifest(self._index_dir, path.name)
                age_s = self._wall_clock() - path.stat().st_mtime
            except (IndexDamagedError, OSError):  # an older format, or half of a file: nobody can read it
                discard(path)
                continue
            if path.name != name:
                found.append((earlier.generation, path.name, age_s, earlier))
        now = self._clock()
        ordered = [(now - age_s, each, earlier) for _, each, age_s, earlier in sorted(found, key=itemgetter(0, 1))]
        self._published = deque([*ordered, (now, name, manifest)])
        bases, tails = self._used()
        for folder, used in (("bases", bases), ("tails", tails)):
            for path in (self._index_dir / folder).iterdir():
                if path.name not in used:
                    discard(path)
        self._prune()

    def _prune(self) -> None:
        now = self._clock()
        dropped = []
        while len(self._published) > GENERATIONS_KEPT and now - self._published[0][0] > GENERATIONS_KEPT_S:
            dropped.append(self._published.popleft())
        for _, name, _ in dropped:
            discard(self._index_dir / "generations" / name)
            failpoint("indexer-while-pruning")
        bases, tails = self._used()
        for _, _, manifest in dropped:
            if manifest.base.name and manifest.base.name not in bases:
                discard(self._index_dir / "bases" / manifest.base.name)
            if manifest.tail.name not in tails:
                discard(self._index_dir / "tails" / manifest.tail.name)

    def _used(self) -> tuple[set[str], set[str]]:
        """Names of the bases and tails of the generations that are kept."""
        kept = [manifest for _, _, manifest in self._published]
        return {manifest.base.name for manifest in kept}, {manifest.tail.name for manifest in kept}
