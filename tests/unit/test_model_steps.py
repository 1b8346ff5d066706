"""The steps around a network from outside: every picture comes to its shape, and what is written is read again."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from contract.errors import ConfigurationError
from model.networks.steps import STEPS_FILE, Steps, read_steps, write_steps


@settings(max_examples=300, deadline=None)
@given(
    width=st.integers(1, 70),
    height=st.integers(1, 70),
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    mode=st.sampled_from(["L", "RGB", "RGBA"]),
    layout=st.sampled_from(["nhwc", "nchw"]),
    fit=st.sampled_from(["squeeze", "crop", "pad"]),
    channels=st.sampled_from(["rgb", "bgr", "grey"]),
    resampling=st.sampled_from(["bilinear", "bicubic"]),
)
def test_steps_bring_every_picture_to_the_networks_shape(
    width: int, height: int, size: tuple[int, int], mode: str, layout: Any, fit: Any, channels: Any, resampling: Any
) -> None:
    """One colour stays that colour wherever the picture is; what is padded is 0."""
    steps = Steps(width, height, layout, fit, channels, resampling, mean=(7.0,), scale=(2.0,))
    colours: dict[str, Any] = {"L": 90, "RGB": (90, 30, 60), "RGBA": (90, 30, 60, 255)}
    found = steps.pixels(Image.new(mode, size, colours[mode]))
    assert (1, *found.shape) == steps.shape and found.dtype == np.float32 and found.flags.c_contiguous
    seen = found if layout == "nhwc" else found.transpose(1, 2, 0)
    colour = (90, 90, 90) if mode == "L" else (90, 30, 60)
    grey = 90 if mode == "L" else Image.new("RGB", (1, 1), colour).convert("L").getpixel((0, 0))
    values: Any = {"rgb": colour, "bgr": colour[::-1], "grey": (grey,)}[channels]
    expected = (np.array(values, np.float32) - 7) / 2
    is_picture = (seen == expected).all(-1)
    assert (is_picture | (seen == 0).all(-1)).all() if fit == "pad" else is_picture.all()
    if fit == "pad":
        rows, columns = is_picture.any(1).sum(), is_picture.any(0).sum()
        assert is_picture.sum() == rows * columns and (rows == height or columns == width)
        assert abs(columns / size[0] - rows / size[1]) * max(size) <= 1 + max(size) / min(size)


def test_transparent_shows_white_and_length_0_stays() -> None:
    steps = Steps(4, 4, "nhwc")
    assert (steps.pixels(Image.new("RGBA", (30, 40))) == 255).all()
    assert not steps.finished(np.zeros((1, 8, 1, 1), np.float16)).any()
    assert steps.finished(np.array([[3, 4]], np.float16)).tolist() == pytest.approx([0.6, 0.8])


def test_steps_are_read_as_they_were_written(tmp_path: Path) -> None:
    steps = Steps(3, 5, "nchw", "pad", "bgr", "bicubic", (1.5, 2.0, -3.0), (0.5,), "float16", "out", False)
    write_steps(tmp_path, steps)
    assert read_steps(tmp_path) == steps
    for name, value in (("layout", "hwcn"), ("width", -1), ("run", "code"), ("version", 2)):
        (tmp_path / STEPS_FILE).write_text(json.dumps(json.loads((tmp_path / STEPS_FILE).read_text()) | {name: value}))
        with pytest.raises(ConfigurationError):
            read_steps(tmp_path)
        write_steps(tmp_path, steps)
