"""Runs a network's file: `.tflite` by LiteRT, `.onnx` by ONNX Runtime, which is an extra. One thread, one picture a call.

Neither is given libraries of further operations, so a network computes and does nothing else; a file is not believed to be harmless all
the same, and is loaded in child processes with limits alone (`model.pictures.decoder`, `model.networks.trial`).
"""

import importlib.util
import os
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from contract.errors import ConfigurationError

LITE, ONNX = "encoder.tflite", "encoder.onnx"
_DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16"}


class Tensor(NamedTuple):
    """An input or output as the network states it: numpy's name of its type, and its shape with None for what may vary."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        sides = ", ".join("any" if side is None else str(side) for side in self.shape)
        return f"{self.name!r} ({sides}) {self.dtype}"


class Network(Protocol):
    """A loaded network, of either kind."""

    inputs: list[Tensor]
    outputs: list[Tensor]

    def run(self, pixels: NDArray[np.generic], output: str) -> NDArray[np.generic]:
        """What the output of that name answers for one picture, given without the leading 1 of its shape; "" is the first one."""
        ...


def open_network(path: Path, shape: tuple[int, ...] | None = None) -> Network:
    """Load a network.

    Args:
        shape: to give to the input of a LiteRT network where that may vary; such memory is reserved before it runs.

    Raises:
        ConfigurationError: it needs ONNX Runtime, which is not installed.
        Exception: what the runtime says of a file that it cannot load.
    """
    if path.suffix == ".onnx":
        check_onnx_runtime()
        return OnnxNetwork(path)
    return LiteNetwork(path, shape)


def check_onnx_runtime() -> None:
    """Check that ONNX Runtime is there, without loading it.

    Raises:
        ConfigurationError: it is not; the message says what brings it.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        raise ConfigurationError(
            "This encoder's network is ONNX, and onnxruntime is not installed. Bring it with `make onnx`, or: "
            "pip install --require-hashes --no-deps -r requirements-onnx.lock"
        )


class LiteNetwork:
    """A network that LiteRT runs."""

    def __init__(self, path: Path, shape: tuple[int, ...] | None = None) -> None:
        from ai_edge_litert.interpreter import Interpreter  # 0.2 s and 60 MB: only where images are embedded

        self._interpreter: Any = Interpreter(str(path), num_threads=1)
        self.inputs = [_lite_tensor(details) for details in self._interpreter.get_input_details()]
        if shape is not None and len(self.inputs) == 1 and None in self.inputs[0].shape:
            self._interpreter.resize_tensor_input(self._interpreter.get_input_details()[0]["index"], shape)
        self._interpreter.allocate_tensors()
        details = self._interpreter.get_output_details()
        self.outputs = [_lite_tensor(each) for each in details]
        self._places = {tensor.name: each["index"] for tensor, each in zip(self.outputs, details, strict=True)}
        self._places[""] = details[0]["index"]
        self._input = self._interpreter.get_input_details()[0]["index"]

    def run(self, pixels: NDArray[np.generic], output: str) -> NDArray[np.generic]:
        """As `Network.run`."""
        self._interpreter.set_tensor(self._input, pixels[None])
        self._interpreter.invoke()
        found: NDArray[np.generic] = self._interpreter.get_tensor(self._places[output])
        return found


class OnnxNetwork:
    """A network that ONNX Runtime runs."""

    def __init__(self, path: Path) -> None:
        # Since 1.32 it writes below ~/.cache how it is used, and can send that. It looks at this when it is loaded.
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        import onnxruntime  # 0.2 s and 60 MB

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.use_deterministic_compute = True
        options.log_severity_level = 3  # errors; warnings are about the graph, and there is one a node
        # From its path, not from memory: so data beside the file are looked for in its own folder, where there are none.
        self._session: Any = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.inputs = [_onnx_tensor(each) for each in self._session.get_inputs()]
        self.outputs = [_onnx_tensor(each) for each in self._session.get_outputs()]

    def run(self, pixels: NDArray[np.generic], output: str) -> NDArray[np.generic]:
        """As `Network.run`."""
        name = output or self.outputs[0].name
        found: NDArray[np.generic] = self._session.run([name], {self.inputs[0].name: pixels[None]})[0]
        return found


def _lite_tensor(details: dict[str, Any]) -> Tensor:
    signature = details.get("shape_signature")
    sides = details["shape"] if signature is None or not len(signature) else signature
    return Tensor(
        str(details["name"]), np.dtype(details["dtype"]).name, tuple(None if side < 0 else int(side) for side in sides)
    )


def _onnx_tensor(found: Any) -> Tensor:
    dtype = _DTYPES.get(found.type) or found.type.removeprefix("tensor(").removesuffix(")")
    return Tensor(
        found.name, dtype, tuple(side if isinstance(side, int) and side >= 0 else None for side in found.shape)
    )
