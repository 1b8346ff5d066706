"""Reads records whose header names are not UTF-8, on which aiokafka 0.14 fails for ever, so that one stops a partition.

aiokafka's compiled reader has no place for another rule; its Python one has. That one is slower, so it is used only once
such a record was met. A name that is not UTF-8 becomes text with escapes: another header that is ignored.
"""

from typing import Any, SupportsIndex

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy


def read_any_header_name() -> None:
    """From now on let all consumers of this process read with the patient reader."""
    fetcher.MemoryRecords = _PatientRecords


class _PatientRecords(_MemoryRecordsPy):  # type: ignore[misc]
    def next_batch(self) -> Any:
        # Kafka 4 knows no older format than this one.
        content = self._next_slice
        return _PatientBatch(content) if super().next_batch() else None


class _PatientBatch(_DefaultRecordBatchPy):  # type: ignore[misc]
    _buffer: bytearray

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer = _PatientBytes(self._buffer)


class _PatientBytes(bytearray):
    """Slices decode to text whatever they hold; only header names are ever decoded."""

    def __getitem__(self, at: SupportsIndex | slice) -> Any:
        found = super().__getitem__(at)
        return _PatientBytes(found) if isinstance(found, bytearray) else found

    def decode(self, encoding: str = "utf-8", errors: str = "backslashreplace") -> str:
        """Like `bytearray.decode`, with escapes for what is not UTF-8."""
        return super().decode(encoding, errors)
