"""A Keras layer without weights that moves, scales and slants a digit upright, by the moments of its ink."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

_SIDE_PX = 28
_MIDDLE_PX = (_SIDE_PX - 1) / 2
# Ink counts from this share of the strongest ink on, once a pixel's neighbours are mixed in: noise stays below it.
INK_MIN = 0.35
# Width and height over which ink spreads afterwards, as standard deviations.
SPREAD_PX = 5.0
# A thin stroke has no width to measure; nothing grows or shrinks by more than these factors.
_VARIANCE_MIN_PX2, _ZOOM_MIN, _ZOOM_MAX = 0.3, 0.3, 2.0


@keras.saving.register_keras_serializable("lookalike")
class Straightening(keras.layers.Layer):  # type: ignore[misc] # Keras has no types
    """Digits (n, 28, 28, 1) float32 in [0, 1] to the same, centred, all equally large and without slant.

    Width and height are brought halfway to equal: entirely would make a 1 as wide as a 0. What is computed is the same
    for one image as for many, and nothing of it is trained.
    """

    def call(self, pixels: tf.Tensor) -> tf.Tensor:
        """Straightened pixels."""
        moments = tf.unstack(tf.matmul(tf.reshape(_ink(pixels), [-1, _SIDE_PX**2]), _terms())[..., None], axis=1)
        mass = moments[0] + 1e-6
        centre_y, centre_x, square_y, product, square_x = (moment / mass for moment in moments[1:])
        variance_y = square_y - centre_y * centre_y + _VARIANCE_MIN_PX2
        covariance = product - centre_y * centre_x
        slant = covariance / variance_y
        variance_x = square_x - centre_x * centre_x + _VARIANCE_MIN_PX2 - slant * covariance
        variance_x = tf.maximum(variance_x, _VARIANCE_MIN_PX2)
        mean = tf.sqrt((variance_x + variance_y) / 2)
        zoom_y, zoom_x = (
            tf.clip_by_value(tf.sqrt(mean * tf.sqrt(variance)) / SPREAD_PX, _ZOOM_MIN, _ZOOM_MAX)
            for variance in (variance_y, variance_x)
        )
        at = tf.range(_SIDE_PX, dtype=tf.float32)
        from_middle = at - _MIDDLE_PX
        scaled_y = zoom_y * from_middle  # (n, row)
        weights = tf.nn.relu(1 - tf.abs((scaled_y + (centre_y + _MIDDLE_PX))[:, :, None] - at))
        source_x = (slant * scaled_y + (centre_x + _MIDDLE_PX))[:, :, None] + (zoom_x * from_middle)[:, None]
        return tf.stop_gradient(_along_rows(tf.matmul(weights, pixels[..., 0]), source_x))[..., None]


def _ink(pixels: tf.Tensor) -> tf.Tensor:
    """How much ink is where, (n, 28, 28)."""
    binomial = tf.constant([0.25, 0.5, 0.25])
    kernel = (binomial[:, None] * binomial)[..., None, None]
    smooth = tf.nn.conv2d(pixels, kernel, 1, "SAME")[..., 0]
    return tf.nn.relu(smooth - INK_MIN * tf.reduce_max(smooth, [1, 2], keepdims=True))


def _terms() -> tf.Tensor:
    """What ink is weighed with to get its moments about the middle: 1, y, x, y y, x y and x x of each pixel, (784, 6)."""
    y, x = (place.ravel() - _MIDDLE_PX for place in np.mgrid[:_SIDE_PX, :_SIDE_PX])
    return tf.constant(np.stack([np.ones_like(x), y, x, y * y, x * y, x * x], 1), tf.float32)


def _along_rows(image: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """Each row of (n, 28, 28) read at places (n, 28, 28) of its own, between two pixels mixed, black outside."""
    x = tf.clip_by_value(x, -1.0, float(_SIDE_PX)) + 1
    left = tf.minimum(tf.floor(x), float(_SIDE_PX))
    share: Any = x - left
    place = tf.cast(left, tf.int32)
    padded = tf.pad(image, [[0, 0], [0, 0], [1, 1]])
    return tf.gather(padded, place, batch_dims=2) * (1 - share) + tf.gather(padded, place + 1, batch_dims=2) * share
