"""A Keras layer without weights that moves, scales and slants a digit upright, by the moments of its ink."""

from typing import Any

import keras
import tensorflow as tf

SIDE_PX = 28
# Ink counts from this share of the strongest ink on, once a pixel's neighbours are mixed in: noise stays below it.
INK_MIN = 0.35
# Width and height over which ink spreads afterwards, as standard deviations.
SPREAD_PX = 5.0
# A thin stroke has no width to measure; nothing grows or shrinks by more than these factors.
VARIANCE_MIN_PX2, ZOOM_MIN, ZOOM_MAX = 0.3, 0.3, 2.0


@keras.saving.register_keras_serializable("lookalike")
class Straightening(keras.layers.Layer):  # type: ignore[misc] # Keras has no types
    """Digits (n, 28, 28, 1) float32 in [0, 1] to the same, centred, all equally large and without slant.

    Width and height are brought halfway to equal: entirely would make a 1 as wide as a 0. What is computed is the same
    for one image as for many, and nothing of it is trained.
    """

    def call(self, pixels: tf.Tensor) -> tf.Tensor:
        """Straightened pixels."""
        image = pixels[..., 0]
        at = tf.range(SIDE_PX, dtype=tf.float32)
        ink = _ink(pixels)
        rows, columns = tf.reduce_sum(ink, 2), tf.reduce_sum(ink, 1)
        centre_y, centre_x = tf.reduce_sum(rows * at, 1, keepdims=True), tf.reduce_sum(columns * at, 1, keepdims=True)
        y, x = at - centre_y, at - centre_x
        variance_y = tf.reduce_sum(rows * y * y, 1, keepdims=True) + VARIANCE_MIN_PX2
        variance_x = tf.reduce_sum(columns * x * x, 1, keepdims=True) + VARIANCE_MIN_PX2
        covariance = tf.reduce_sum(tf.reduce_sum(ink * x[:, None], 2) * y, 1, keepdims=True)
        slant = covariance / variance_y
        variance_x = tf.maximum(variance_x - slant * covariance, VARIANCE_MIN_PX2)
        mean = tf.sqrt((variance_x + variance_y) / 2)
        zoom_y, zoom_x = (
            tf.clip_by_value(tf.sqrt(mean * tf.sqrt(variance)) / SPREAD_PX, ZOOM_MIN, ZOOM_MAX)
            for variance in (variance_y, variance_x)
        )
        from_middle = at - (SIDE_PX - 1) / 2
        source_y = centre_y + zoom_y * from_middle  # (n, row)
        source_x = (centre_x + slant * zoom_y * from_middle)[:, :, None] + (zoom_x * from_middle)[:, None]
        weights = tf.nn.relu(1 - tf.abs(source_y[:, :, None] - at))
        return tf.stop_gradient(_along_rows(tf.matmul(weights, image), source_x))[..., None]


def _ink(pixels: tf.Tensor) -> tf.Tensor:
    """Where the ink is, (n, 28, 28) that sums to 1 unless there is none."""
    binomial = tf.constant([0.25, 0.5, 0.25])
    kernel = (binomial[:, None] * binomial)[..., None, None]
    smooth = tf.nn.conv2d(pixels, kernel, 1, "SAME")[..., 0]
    ink = tf.nn.relu(smooth - INK_MIN * tf.reduce_max(smooth, [1, 2], keepdims=True))
    return ink / (tf.reduce_sum(ink, [1, 2], keepdims=True) + 1e-6)


def _along_rows(image: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """Each row of (n, 28, 28) read at places (n, 28, 28) of its own, between two pixels mixed, black outside."""
    x = tf.clip_by_value(x, -1.0, float(SIDE_PX)) + 1
    left = tf.minimum(tf.floor(x), float(SIDE_PX))
    share: Any = x - left
    place = tf.cast(left, tf.int32)
    padded = tf.pad(image, [[0, 0], [0, 0], [1, 1]])
    return tf.gather(padded, place, batch_dims=2) * (1 - share) + tf.gather(padded, place + 1, batch_dims=2) * share
