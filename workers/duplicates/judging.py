"""Verdicts on pairs of near images: which are altered copies, and what was done to them. What was judged once is remembered."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path

import msgspec
import structlog

from contract.errors import DependencyError
from contract.record_key import RecordKey
from gallery.duplicates.found import Judgement
from gallery.duplicates.grouping import NearPair
from gallery.generations.files import read_whole, write_whole
from gallery.store.records import Records
from gallery.store.rows import ImageRecord
from model.verdicts.explainer import Explainer
from model.verdicts.frames import Explained, Kind, Shown

PAIRS_AT_ONCE = 256
EXPLAINERS = 2

logger = structlog.get_logger()
_Known = dict[tuple[RecordKey, RecordKey], Judgement]


class _KnownJudgement(msgspec.Struct, frozen=True, array_like=True):
    copy: tuple[str, int, int]
    original: tuple[str, int, int]
    judgement: Judgement


class Judging:
    """Judges pairs, the nearest first, and no more new ones in one run than it may.

    Records never change, so a judgement holds for ever: the next run goes on where this one ended.

    Args:
        keys: the record of each row.
        path: of the file that remembers judgements.
        new_max: how many pairs may be judged that were not before.
        tell: is told the share of the work that was just done.

    Attributes:
        judged, unjudged: pairs that were asked for and are decided, or left for a later run.
    """

    def __init__(
        self,
        records: Records,
        keys: Sequence[RecordKey],
        kind: Kind,
        path: Path,
        *,
        new_max: int,
        tell: Callable[[float], object],
    ) -> None:
        self._records = records
        self._keys = keys
        self._kind = kind
        self._path = path
        self._new_max = new_max
        self._tell = tell
        self.judged = self.unjudged = 0

    def __call__(self, pairs: Sequence[NearPair]) -> Mapping[tuple[int, int], Judgement]:
        """What each pair is, by the rows of copy and original; as far as it is known.

        Raises:
            DependencyError: Cassandra did not answer.
        """
        known = _read(self._path, set(self._keys))
        new = [pair for pair in pairs if self._names(pair) not in known][: self._new_max]
        explainers = [Explainer() for _ in range(EXPLAINERS)]
        try:
            with ThreadPoolExecutor(EXPLAINERS) as threads:
                for begin in range(0, len(new), PAIRS_AT_ONCE):
                    part = new[begin : begin + PAIRS_AT_ONCE]
                    known |= self._judged(part, explainers, threads)
                    self._tell(len(part) / len(new))
        except DependencyError as error:
            if error.dependency == "cassandra":
                raise
            logger.warning("no verdicts", detail=error.detail)
        finally:
            for explainer in explainers:
                explainer.close()
        _write(self._path, known)
        found = {(pair.copy, pair.original): known[name] for pair in pairs if (name := self._names(pair)) in known}
        self.judged, self.unjudged = len(found), len(pairs) - len(found)
        return found

    def _names(self, pair: NearPair) -> tuple[RecordKey, RecordKey]:
        return self._keys[pair.copy], self._keys[pair.original]

    def _judged(
        self, pairs: Sequence[NearPair], explainers: Sequence[Explainer], threads: ThreadPoolExecutor
    ) -> _Known:
        records = self._records.read(sorted({key for pair in pairs for key in self._names(pair)}))
        shown = {key: _shown(record) for key, record in records.items()}
        names = [name for pair in pairs if set(name := self._names(pair)) <= shown.keys()]
        parts = [sorted(names)[number::EXPLAINERS] for number in range(EXPLAINERS)]
        told = threads.map(
            lambda each: dict(_explained(each[0], each[1], shown, self._kind)), zip(explainers, parts, strict=True)
        )
        return {name: judgement for part in told for name, judgement in part.items()}


def _explained(
    explainer: Explainer,
    names: Iterable[tuple[RecordKey, RecordKey]],
    shown: Mapping[RecordKey, Shown],
    kind: Kind,
) -> Iterator[tuple[tuple[RecordKey, RecordKey], Judgement]]:
    """Judge each pair as copy and original; where it is none, the other way round: the smaller one may be the original."""
    for copy, group in groupby(names, lambda name: name[0]):
        originals = [original for _, original in group]
        told = explainer.explanations(shown[copy], [shown[original] for original in originals], kind) or []
        for original, explained in zip(originals, told, strict=False):
            judgement = _judgement(explained, is_reversed=False)
            if not judgement.is_copy and explained.verdict:
                (other,) = explainer.explanations(shown[original], [shown[copy]], kind) or [explained]
                turned = _judgement(other, is_reversed=True)
                judgement = turned if turned.is_copy else judgement
            yield (copy, original), judgement


def _judgement(explained: Explained, *, is_reversed: bool) -> Judgement:
    if explained.verdict in ("", "similar"):
        return Judgement(False)
    return Judgement(
        True,
        is_reversed,
        [(edit.name, edit.amount, edit.unit) for edit in explained.edits],
        explained.alignment,
        explained.residual,
        explained.confidence,
        explained.outline,
    )


def _shown(record: ImageRecord) -> Shown:
    return Shown(record.thumbnail, record.width, record.height)


def verdicts_version() -> str:
    """Eight digits that change with the code that judges."""
    folder = Path(__file__).parents[2] / "model" / "verdicts"
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def _read(path: Path, live: set[RecordKey]) -> _Known:
    """What was judged of records that still matter; nothing where the file is none of ours."""
    try:
        told = msgspec.msgpack.decode(read_whole(path), type=list[_KnownJudgement])
    except (OSError, ValueError, msgspec.DecodeError):
        return {}
    found = {(RecordKey(*each.copy), RecordKey(*each.original)): each.judgement for each in told}
    return {names: judgement for names, judgement in found.items() if live.issuperset(names)}


def _write(path: Path, known: _Known) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(
        path, msgspec.msgpack.encode([_KnownJudgement(*names, judgement) for names, judgement in known.items()])
    )
