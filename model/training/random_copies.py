"""Altered copies of digits by the thousand, drawn by chance, to train with; `model.training.alterations` has those that are measured."""

import tensorflow as tf

# Each copy gets all of them, up to these amounts.
ANGLE_RAD, SLANT, LOG_ZOOM, LOG_ASPECT, SHIFT_PX = 0.26, 0.15, 0.25, 0.12, 2.5
BLUR_PX, NOISE = 1.2, 0.25
GAIN_MIN, GAIN_MAX = 0.7, 1.15
# The others are left as sharp, or as clean, as they were.
BLUR_SHARE, NOISE_SHARE = 0.8, 0.7
_MIDDLE = 13.5


def random_copies(pixels: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """One copy of each of (n, 28, 28, 1) float32 in [0, 1]; `seed`, (2,) int32, decides what is done to it."""
    seeds = tf.random.experimental.stateless_split(seed, 8)
    copies = _stroke(_moved(pixels, seeds[0]), seeds[1])
    copies += _share(copies, seeds[2], BLUR_SHARE) * (_blurred(copies) - copies)
    noise = tf.random.stateless_normal(tf.shape(copies), seeds[3]) * NOISE * _share(copies, seeds[4], NOISE_SHARE)
    gain = tf.random.stateless_uniform((tf.shape(pixels)[0], 1, 1, 1), seeds[5], GAIN_MIN, GAIN_MAX)
    return tf.clip_by_value(copies * gain + noise, 0, 1)


def _moved(pixels: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Turned, slanted, stretched, scaled and shifted."""
    most = tf.constant([ANGLE_RAD, SLANT, LOG_ZOOM, LOG_ASPECT, SHIFT_PX, SHIFT_PX])
    drawn = tf.random.stateless_uniform((tf.shape(pixels)[0], 6), seed) * (2 * most) - most
    angle, slant, zoom, aspect, right, down = tf.unstack(drawn, axis=1)
    cos, sin = tf.cos(angle), tf.sin(angle)
    wide, high = tf.exp(zoom + aspect), tf.exp(zoom - aspect)
    a, b, c, d = wide * cos, wide * (slant * cos - sin), high * sin, high * (slant * sin + cos)
    none = tf.zeros_like(a)
    rows = [a, b, _MIDDLE + right - _MIDDLE * (a + b), c, d, _MIDDLE + down - _MIDDLE * (c + d), none, none]
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=pixels,
        transforms=tf.stack(rows, 1),
        output_shape=(28, 28),
        fill_value=0.0,
        interpolation="BILINEAR",
    )


def _stroke(pixels: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Written with a thicker or a thinner pen."""
    thick = tf.nn.max_pool2d(pixels, 3, 1, "SAME")
    thin = -tf.nn.max_pool2d(-pixels, 2, 1, "SAME")
    share = tf.random.stateless_uniform((tf.shape(pixels)[0], 1, 1, 1), seed, -0.5, 0.5)
    return pixels + tf.nn.relu(share) * (thick - pixels) + tf.nn.relu(-share) * (thin - pixels)


def _blurred(pixels: tf.Tensor) -> tf.Tensor:
    """By a Gaussian."""
    profile = tf.exp(-(tf.range(-3.0, 4.0) ** 2) / (2 * BLUR_PX**2))
    profile /= tf.reduce_sum(profile)
    down = tf.nn.conv2d(pixels, profile[:, None, None, None], 1, "SAME")
    return tf.nn.conv2d(down, profile[None, :, None, None], 1, "SAME")


def _share(pixels: tf.Tensor, seed: tf.Tensor, often: float) -> tf.Tensor:
    """A number in [0, 1] an image (n, 1, 1, 1), above 0 for a share `often` of them."""
    drawn = tf.random.stateless_uniform((tf.shape(pixels)[0], 1, 1, 1), seed)
    return tf.nn.relu(1 - drawn / often)
