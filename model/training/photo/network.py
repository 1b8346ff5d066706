"""EfficientNet-Lite0 (Tan, Le 2019, arXiv 1905.11946; Lite0: TensorFlow's variant for small machines) in two halves.

The front is frozen and shared. The tail exists twice in the encoder: as ImageNet left it, for what is alike, and tuned to find
copies. Batch normalisation is folded into the convolutions, so there is nothing that differs between training and use.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

# For each stage: repeats, kernel, stride, expansion.
STAGES = ((1, 3, 1, 1), (2, 3, 2, 6), (2, 5, 2, 6), (3, 3, 2, 6), (3, 5, 1, 6), (4, 5, 2, 6), (1, 3, 1, 6))
# What is frozen ends behind the third stage: an eighth of the side, 40 channels.
FRONT_STAGES = 3
FRONT_CHANNELS = 40
FEATURES = 1280
_EPSILON = 1e-3
# Generalised-mean pooling (Radenovic et al. 2018, arXiv 1711.02512).
_GEM_POWER = 3.0

Weights = dict[str, NDArray[Any]]
_Layer = Callable[[Any], Any]


def front(weights: Weights, side_px: int) -> keras.Model:
    """From pixels (n, side, side, 3) float32 in 0..255 to (n, side / 8, side / 8, 40)."""
    pixels = keras.Input((side_px, side_px, 3))
    found = layers.Rescaling(1 / 128, offset=-127 / 128)(pixels)
    found = _convolution(weights, "_conv_stem", "_bn0", stride=2)(found)
    return keras.Model(pixels, _stages(weights, found, range(FRONT_STAGES)))


def tail(weights: Weights, side_px: int, name: str) -> keras.Model:
    """From what the front gives to (n, 1280) pooled features."""
    begun = keras.Input((side_px // 8, side_px // 8, FRONT_CHANNELS))
    found = _stages(weights, begun, range(FRONT_STAGES, len(STAGES)))
    found = _convolution(weights, "_conv_head", "_bn1")(found)
    return keras.Model(begun, GeM()(found), name=name)


@keras.saving.register_keras_serializable("lookalike")
class GeM(layers.Layer):  # type: ignore[misc]
    """The cubic mean over a picture: between its average and its maximum. (n, h, w, c) to (n, c)."""

    def call(self, maps: Any) -> Any:
        """Pool; of nothing but zeros it is near zero, never a root of zero, whose slope is infinite."""
        raised = keras.ops.power(keras.ops.maximum(maps, 1e-6), _GEM_POWER)
        return keras.ops.power(keras.ops.mean(raised, axis=(1, 2)), 1 / _GEM_POWER)


def _stages(weights: Weights, found: Any, wanted: range) -> Any:
    block = sum(repeats for repeats, *_ in STAGES[: wanted.start])
    for stage in wanted:
        repeats, _, stride, expansion = STAGES[stage]
        for repeat in range(repeats):
            found = _block(
                weights, f"_blocks.{block}.", found, 1 if repeat else stride, expansion, is_residual=repeat > 0
            )
            block += 1
    return found


def _block(weights: Weights, name: str, found: Any, stride: int, expansion: int, *, is_residual: bool) -> Any:
    inner = found
    if expansion != 1:
        inner = _convolution(weights, f"{name}_expand_conv", f"{name}_bn0")(inner)
    inner = _convolution(weights, f"{name}_depthwise_conv", f"{name}_bn1", stride)(inner)
    inner = _convolution(weights, f"{name}_project_conv", f"{name}_bn2", is_clipped=False)(inner)
    return layers.Add()([inner, found]) if is_residual else inner


def _convolution(weights: Weights, name: str, norm: str, stride: int = 1, *, is_clipped: bool = True) -> _Layer:
    """A convolution with its batch normalisation folded in, then ReLU6 unless it is a projection."""
    kernel = weights[f"{name}.weight"]
    scale = weights[f"{norm}.weight"] / np.sqrt(weights[f"{norm}.running_var"] + _EPSILON)
    bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
    kernel = (kernel * scale[:, None, None, None]).transpose(2, 3, 1, 0)
    size, options = kernel.shape[0], {"strides": stride, "padding": "same"}
    if name.endswith("_depthwise_conv"):
        kernel = kernel.transpose(0, 1, 3, 2)
        layer: Any = layers.DepthwiseConv2D(size, **options)
    else:
        layer = layers.Conv2D(kernel.shape[-1], size, **options)

    def apply(found: Any) -> Any:
        given = layer(found)
        layer.set_weights([kernel, bias])
        return layers.ReLU(6.0)(given) if is_clipped else given

    return apply
