"""Metadata as columns: of each key its distinct values, and which row has which. An Arrow file holds them.

Long rather than wide, one list for each key, so that images which share no key cost no more than those that share all.
pyarrow is imported only where columns are read or written, since it costs a process 30 MB.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import IndexDamagedError
from gallery.generations.flattened import flattened, number_of, value_checksum
from gallery.nearest.tree import frozen

COLUMNS_FILE = "metadata.arrow"


@dataclass(frozen=True)
class Texts:
    """Many texts in UTF-8, one after the other.

    Attributes:
        blob: (size,) uint8.
        ends: (n + 1,) int64, where each begins, and the end.
    """

    blob: NDArray[np.uint8]
    ends: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, number: int) -> bytes:
        return self.blob[self.ends[number] : self.ends[number + 1]].tobytes()

    @classmethod
    def of(cls, texts: Sequence[bytes]) -> "Texts":
        """These texts."""
        return cls(np.frombuffer(b"".join(texts), np.uint8), _ends([len(text) for text in texts]))


@dataclass(frozen=True)
class Columns:
    """Values by key, as `gallery.generations.flattened` tells them. Never changes.

    Keys are sorted by their bytes. An entry says that a row has a value; those of a key are sorted by row, then value.

    Attributes:
        keys: (k,) texts.
        entry_ends: (k + 1,) int64, where each key's entries begin.
        rows: (entries,) int32.
        codes: (entries,) int32, which of the key's values.
        value_ends: (k + 1,) int64, where each key's values begin.
        texts: (values,) JSON texts, of each key distinct and sorted by their bytes.
        numbers: (values,) float64, what a value means as a number; not a number for what is none.
    """

    keys: Texts
    entry_ends: NDArray[np.int64]
    rows: NDArray[np.int32]
    codes: NDArray[np.int32]
    value_ends: NDArray[np.int64]
    texts: Texts
    numbers: NDArray[np.float64]

    def find(self, key: str) -> int:
        """Number of a key, -1 when no row has it."""
        wanted = key.encode()
        number = bisect_left(self.keys, wanted)
        return number if number < len(self.keys) and self.keys[number] == wanted else -1

    def checksums(self, row_count: int) -> NDArray[np.uint64]:
        """(row_count,) what `gallery.generations.flattened.metadata_checksum` gives for each row's keys and values."""
        found = np.zeros(row_count, np.uint64)
        for number in range(len(self.keys)):
            key, values = self.keys[number], range(*self.value_ends[number : number + 2].tolist())
            told = np.array([value_checksum(key, self.texts[value]) for value in values], np.uint64)
            entries = slice(*self.entry_ends[number : number + 2].tolist())
            np.add.at(found, self.rows[entries], told[self.codes[entries]])
        return found

    def save(self, folder: Path) -> None:
        """Write the Arrow file."""
        import pyarrow as pa

        keys = _arrow_texts(self.keys)
        entries, values = pa.array(self.entry_ends), pa.array(self.value_ends)
        columns = {
            "key": keys,
            "rows": pa.LargeListArray.from_arrays(entries, pa.array(self.rows)),
            "codes": pa.LargeListArray.from_arrays(entries, pa.array(self.codes)),
            "texts": pa.LargeListArray.from_arrays(values, _arrow_texts(self.texts)),
            "numbers": pa.LargeListArray.from_arrays(values, pa.array(self.numbers)),
        }
        batch = pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
        with pa.OSFile(str(folder / COLUMNS_FILE), "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
            writer.write_batch(batch)


def build_columns(metadata: Sequence[str]) -> Columns:
    """Columns of rows whose metadata are these texts, each one that `is_metadata`."""
    numbers: dict[tuple[bytes, bytes], int] = {}
    rows, values = [], []
    for row, text in enumerate(metadata):
        for key, value in flattened(text):
            rows.append(row)
            values.append(numbers.setdefault((key.encode(), value.encode()), len(numbers)))
    return _assembled(list(numbers), np.array(rows, np.int64), np.array(values, np.int64))


def merge_columns(parts: Iterable[tuple[Columns, NDArray[np.int64]]]) -> Columns:
    """One for many, without the rows that are gone and what only they had.

    Args:
        parts: each with the new row number of each of its rows, -1 for one that is gone.
    """
    numbers: dict[tuple[bytes, bytes], int] = {}
    rows, values = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for columns, row_after in parts:
        keys = np.repeat(np.arange(len(columns.keys)), np.diff(columns.entry_ends))
        new_rows = row_after[columns.rows]
        kept = new_rows >= 0
        used: NDArray[np.int64]
        used, value_of = np.unique((columns.value_ends[keys] + columns.codes)[kept], return_inverse=True)
        key_of = np.searchsorted(columns.value_ends, used, "right") - 1
        keys_and_values = zip(key_of.tolist(), used.tolist(), strict=True)
        pairs = ((columns.keys[number], columns.texts[value]) for number, value in keys_and_values)
        found = np.array([numbers.setdefault(pair, len(numbers)) for pair in pairs], np.int64)
        rows.append(new_rows[kept])
        values.append(found[value_of])
    return _assembled(list(numbers), np.concatenate(rows), np.concatenate(values))


def load_columns(content: NDArray[np.uint8], row_count: int) -> Columns:
    """Read what `save` wrote, without a copy.

    Args:
        content: of the file.

    Raises:
        IndexDamagedError: it is no such file, or tells of rows that are none.
    """
    import pyarrow as pa

    try:
        file = pa.ipc.open_file(pa.py_buffer(content))
        if file.num_record_batches != 1 or file.schema != _schema():
            raise IndexDamagedError(f"{COLUMNS_FILE} holds {file.num_record_batches} batches of {file.schema}.")
        batch = file.get_batch(0)
        batch.validate(full=True)
        key, rows, codes, texts, numbers = batch.columns
        found = Columns(
            keys=_texts(key),
            entry_ends=_array(rows.offsets, np.int64),
            rows=_array(rows.values, np.int32),
            codes=_array(codes.values, np.int32),
            value_ends=_array(texts.offsets, np.int64),
            texts=_texts(texts.values),
            numbers=_array(numbers.values, np.float64),
        )
        fits = (codes.offsets.equals(rows.offsets), numbers.offsets.equals(texts.offsets))
    except (pa.ArrowException, OSError, ValueError, IndexError) as error:
        raise IndexDamagedError(f"{COLUMNS_FILE} cannot be read: {error}.") from error
    problem = _problem(found, row_count) if all(fits) else "its lists differ in length"
    if problem:
        raise IndexDamagedError(f"{COLUMNS_FILE} cannot be used: {problem}.")
    return found


def _assembled(pairs: list[tuple[bytes, bytes]], rows: NDArray[np.int64], values: NDArray[np.int64]) -> Columns:
    """Sort everything.

    Args:
        pairs: key and value, distinct.
        rows, values: (entries,) which row has which of the pairs, distinct.
    """
    order = sorted(range(len(pairs)), key=pairs.__getitem__)
    place = np.empty(len(pairs), np.int64)
    place[order] = np.arange(len(pairs))
    pairs = [pairs[number] for number in order]
    names = [key for n, (key, _) in enumerate(pairs) if not n or pairs[n - 1][0] != key]
    number_of_key = {key: number for number, key in enumerate(names)}
    key_of_value = np.array([number_of_key[key] for key, _ in pairs], np.int64)
    values = place[values]
    # Values are sorted by key, so by row within a key is by key, row and value.
    entries = np.lexsort((values, rows, key_of_value[values]))
    rows, values = rows[entries], values[entries]
    value_ends = _ends(np.bincount(key_of_value, minlength=len(names)))
    keys = key_of_value[values]
    return Columns(
        keys=Texts.of(names),
        entry_ends=_ends(np.bincount(keys, minlength=len(names))),
        rows=frozen(rows.astype(np.int32)),
        codes=frozen((values - value_ends[keys]).astype(np.int32)),
        value_ends=value_ends,
        texts=Texts.of([text for _, text in pairs]),
        numbers=np.array([number_of(text.decode()) for _, text in pairs], np.float64),
    )


def _problem(columns: Columns, row_count: int) -> str:
    """What is wrong with columns, so that reading them could leave an array or tell something else; "" if nothing is."""
    keys = [columns.keys[number] for number in range(len(columns.keys))]
    if any(first >= second for first, second in pairwise(keys)):
        return "its keys are not sorted"
    if (np.diff(columns.entry_ends) < 1).any() or (np.diff(columns.value_ends) < 1).any():
        return "a key has no values"
    key_of_entry = np.repeat(np.arange(len(keys)), np.diff(columns.entry_ends))
    same_key = np.diff(key_of_entry) == 0
    place = columns.rows.astype(np.int64) * (int(columns.codes.max(initial=0)) + 1) + columns.codes
    if len(columns.rows) and (columns.rows.min() < 0 or columns.rows.max() >= row_count):
        return f"it tells of rows that are not below {row_count}"
    if (columns.codes < 0).any() or (columns.codes >= np.diff(columns.value_ends)[key_of_entry]).any():
        return "it tells of values that are not there"
    return "its entries are not sorted" if (np.diff(place)[same_key] < 1).any() else ""


def _ends(counts: Any) -> NDArray[np.int64]:
    ends = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=ends[1:])
    return ends


def _schema() -> Any:
    import pyarrow as pa

    lists = {"rows": pa.int32(), "codes": pa.int32(), "texts": pa.large_string(), "numbers": pa.float64()}
    return pa.schema([("key", pa.large_string()), *((name, pa.large_list(kind)) for name, kind in lists.items())])


def _arrow_texts(texts: Texts) -> Any:
    import pyarrow as pa

    buffers = [None, pa.py_buffer(np.ascontiguousarray(texts.ends)), pa.py_buffer(texts.blob)]
    return pa.Array.from_buffers(pa.large_string(), len(texts), buffers)


def _texts(array: Any) -> Texts:
    _, ends, blob = array.buffers()
    ends = np.zeros(1, np.int64) if ends is None or not ends.size else np.frombuffer(ends, np.int64)[: len(array) + 1]
    return Texts(np.frombuffer(blob or b"", np.uint8), ends)


def _array(array: Any, dtype: Any) -> NDArray[Any]:
    if array.null_count:
        raise ValueError("a value is missing")
    found: NDArray[Any] = array.to_numpy(zero_copy_only=True)
    return frozen(found.astype(dtype, copy=False))
