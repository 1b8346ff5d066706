"""Indexes of others that take long to build, kept beside the embeddings, so that measuring again is cheap."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Build:
    """How an index came to be.

    Attributes:
        seconds: that building took, in this run or in the one that kept the index.
        threads: with which it was built.
        is_kept: it was built by an earlier run and only loaded now.
    """

    seconds: float
    threads: int
    is_kept: bool


@dataclass(frozen=True)
class IndexCache:
    """Where the indexes over one set of embeddings are kept; a file's name says over what and with how many threads.

    Attributes:
        embeddings: name of the set, with the encoder's fingerprint where one made it.
        threads: to build with; searching is always done by one.
    """

    folder: Path
    embeddings: str
    threads: int = 1

    def built(
        self, method: str, build: Callable[[], None], save: Callable[[str], None], load: Callable[[str], None]
    ) -> Build:
        """Load what is kept, else build and keep it."""
        path = self.folder / f"{method}-{self.embeddings}-{self.threads}-threads.index"
        note = path.with_suffix(".json")
        if path.exists() and note.exists():
            load(str(path))
            return Build(**{**json.loads(note.read_text()), "is_kept": True})
        began = time.perf_counter()
        build()
        made = Build(round(time.perf_counter() - began, 2), self.threads, is_kept=False)
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".tmp")
        save(str(unfinished))
        unfinished.rename(path)
        note.write_text(json.dumps(asdict(made), indent=1))
        return made
