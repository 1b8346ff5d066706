"""Networks from outside, made here: small ONNX ones with whatever fault a test wants, and changed LiteRT ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as lite
from flatbuffers import Builder
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIDE_PX = 32
_GRID = 16
PHOTO = Path(__file__).parents[1] / "model" / "encoders" / "photo" / "encoder.tflite"


def onnx_network(
    *,
    dimensions: int = 512,
    shape: Sequence[Any] = ("n", 3, SIDE_PX, SIDE_PX),
    seed: int = 1,
    tail: Sequence[tuple[str, Sequence[str], dict[str, Any]]] = (),
    outputs: Sequence[str] = ("embedding",),
    output_shape: Sequence[Any] | None = None,
) -> onnx.ModelProto:
    """A network that takes float32 pictures nchw and gives a fixed random turn of their 16 x 16 means, relative to grey.

    Args:
        tail: nodes between ``"turned"`` and the output ``"embedding"``, as operation, inputs and attributes; the last one gives the
            output, those before ``"tail0"``, ``"tail1"`` and so on.
        outputs: names; all give the same.
    """
    width = 3 * _GRID * _GRID
    weights = np.random.default_rng(seed).normal(0, 1 / width, (width, dimensions)).astype(np.float32)
    constants: dict[str, NDArray[Any]] = {
        "weights": weights,
        "grey": np.array([127.0], np.float32),
        "zero": np.array([0.0], np.float32),
        "huge": np.array([10**13], np.int64),
        "forever": np.array(2**62, np.int64),
        "axis": np.array([2], np.int64),
        "true": np.array(True),
    }
    nodes = [
        helper.make_node("AveragePool", ["picture"], ["means"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Sub", ["means", "grey"], ["centred"]),
        helper.make_node("Flatten", ["centred"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["turned"]),
    ]
    steps = list(tail) or [("Identity", ["turned"], {})]
    for number, (operation, inputs, attributes) in enumerate(steps):
        gives = "embedding" if number == len(steps) - 1 else f"tail{number}"
        nodes.append(helper.make_node(operation, inputs, [gives], **attributes))
    nodes += [helper.make_node("Identity", ["embedding"], [name]) for name in outputs if name != "embedding"]
    batch = shape[0]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, list(shape))],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, list(output_shape or (batch, dimensions)))
            for name in outputs
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    domains = {node.domain for node in nodes if node.domain}
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 17), *(helper.make_opsetid(domain, 1) for domain in domains)],
        ir_version=8,
    )


def endless() -> onnx.GraphProto:
    """The body of an ONNX loop that never ends."""
    return helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Sin", ["value"], ["next"]),
        ],
        "endless",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, None),
        ],
    )


def saved(model: onnx.ModelProto, folder: Path, name: str = "network.onnx") -> Path:
    """The network's file."""
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path


def lite_with_two_outputs(folder: Path) -> Path:
    """`photo`'s network, of which a tensor within is an output too."""
    model: Any = lite.ModelT.InitFromPackedBuf(PHOTO.read_bytes(), 0)
    graph = model.subgraphs[0]
    last = graph.operators[-1]
    graph.outputs = [*graph.outputs, next(i for i in last.inputs if graph.tensors[i].buffer == 0 or i > 0)]
    builder = Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    path = folder / "two.tflite"
    path.write_bytes(bytes(builder.Output()))
    return path
