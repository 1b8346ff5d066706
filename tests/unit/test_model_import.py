"""Networks from outside: they become encoders that do what was asked, or are refused with the reason and leave nothing behind."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from contract.errors import ConfigurationError
from model.encoder import ENCODERS, Encoder, imported_names, load_encoder
from model.limited_process import CPU_LIMIT_S
from model.networks.importing import NetworkSource, import_network
from model.networks.steps import STEPS_FILE, Steps, read_steps
from model.pictures.decoder import Decoder
from model.soundness import hard_pictures
from tests.networks import PHOTO, SIDE_PX, endless, lite_with_two_outputs, onnx_network, saved
from tests.unit.test_images import encoded

STEPS = Steps(SIDE_PX, SIDE_PX, "nchw")
PHOTO_STEPS = Steps(224, 224, "nhwc", is_normalised=False)
Tail = list[tuple[str, list[str], dict[str, Any]]]


def imported(path: Path, encoders: Path, steps: Steps = STEPS, name: str = "mine", **more: Any) -> Encoder:
    return import_network(NetworkSource(name, path, path.suffix, steps, **more), encoders)


@pytest.fixture
def encoders(tmp_path: Path) -> Path:
    return tmp_path / "encoders"


def photographs() -> Iterator[Image.Image]:
    for photograph in map(Image.fromarray, load_sample_images().images):
        yield photograph
        yield photograph.crop((50, 20, 250, 330))
        yield photograph.convert("L").resize((90, 400))


def test_photos_own_file_gives_photos_embeddings(encoders: Path) -> None:
    encoder, photo = imported(PHOTO, encoders, PHOTO_STEPS), load_encoder("photo")
    assert (encoder.dimensions, encoder.is_imported, photo.is_imported) == (photo.dimensions, True, False)
    assert encoder.fingerprint != photo.fingerprint
    for picture in [*photographs(), *hard_pictures().values()]:
        assert np.array_equal(encoder.embed(encoder.pixels(picture)), photo.embed(photo.pixels(picture)))


def test_onnx_network_gives_what_it_says_of_each_picture(encoders: Path, tmp_path: Path) -> None:
    path = saved(onnx_network(), tmp_path)
    steps = Steps(SIDE_PX, SIDE_PX, "nchw", mean=(120.0, 110.0, 100.0), scale=(2.0, 3.0, 4.0), fit="crop")
    encoder = imported(path, encoders, steps, credits=("me, CC0",))
    session = onnxruntime.InferenceSession(str(path))
    for picture in photographs():
        rgb = picture.convert("RGB")
        side = min(rgb.size)
        left, top = (rgb.width - side) / 2, (rgb.height - side) / 2
        box = (left, top, left + side, top + side)
        small = rgb.resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR, box, reducing_gap=3.0)
        pixels = (np.asarray(small, np.float32) - np.array([120, 110, 100], np.float32)) / np.array(
            [2, 3, 4], np.float32
        )
        (expected,) = session.run(None, {"picture": pixels.transpose(2, 0, 1)[None]})
        found = encoder.embed(encoder.pixels(picture))
        assert np.allclose(found, expected[0] / np.linalg.norm(expected[0]), atol=1e-6)
        assert np.linalg.norm(found) == pytest.approx(1)
    assert encoder.card["credits"] == ["me, CC0"]
    assert encoder.card["imported"]["file"] == "network.onnx"
    reference = np.load(encoder.folder / "reference.npz")["embeddings"]
    found = np.stack([encoder.embed(encoder.pixels(picture)) for picture in hard_pictures().values()])
    assert np.array_equal(found, reference)
    assert sorted(path.name for path in encoders.iterdir()) == ["mine"]


def test_decoder_child_embeds_a_photograph_as_the_encoder_does(encoders: Path, tmp_path: Path) -> None:
    encoder = imported(saved(onnx_network(dimensions=64), tmp_path), encoders)
    picture = Image.fromarray(load_sample_images().images[0])
    decoder = Decoder("mine", encoders_dir=encoders)
    try:
        largest = Image.new("RGBA", (5000, 5000), (10, 200, 30, 128))
        small, large = decoder.decode([encoded(picture, "PNG"), encoded(largest, "PNG", compress_level=1)]).images
    finally:
        decoder.close()
    assert (small.reason, large.reason) == ("", "")
    assert small.embedding == encoder.embed(encoder.pixels(picture)).astype("<f4").tobytes()


NOT_FINITE: Tail = [("Sub", ["turned", "turned"], {}), ("Div", ["tail0", "tail0"], {})]
SAME: Tail = [("Mul", ["turned", "zero"], {}), ("Add", ["tail0", "grey"], {})]
FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "not finite": ({"tail": NOT_FINITE}, "not finite for 28 of 32 pictures: white"),
    "the same for all": ({"tail": SAME}, "the same embedding for pictures that have nothing in common"),
    "by chance": ({"tail": [("RandomNormalLike", ["turned"], {})]}, "another embedding for the same picture each time"),
    "too many numbers": ({"dimensions": 513}, "has 513 numbers, expected 1 to 512"),
    "pictures by the dozen": ({"shape": (12, 3, 32, 32)}, "takes 12 pictures at a time"),
    "another network's size": ({"shape": (1, 3, 64, 64)}, "cannot be loaded: .*Incompatible dimensions"),
    "no picture": ({"shape": ("n", 3)}, "cannot be loaded|expected four sides"),
    "two outputs": ({"outputs": ("embedding", "second")}, "2 outputs: 'embedding'.*'second'.*--output NAME"),
    "a map": (
        {
            "tail": [("Unsqueeze", ["turned", "axis"], {}), ("Concat", ["tail0", "tail0"], {"axis": 2})],
            "output_shape": ("n", 512, 2),
        },
        r"the shape \(1, 512, 2\), expected \(1, d\)",
    ),
    "custom operation": (
        {"tail": [("Own", ["turned"], {"domain": "elsewhere"})]},
        "operations that the runtime does not bring",
    ),
    "unknown operation": ({"tail": [("Own", ["turned"], {})]}, "operations that the runtime does not bring"),
    "endless": (
        {"tail": [("Loop", ["forever", "true", "turned"], {"body": endless()})]},
        f"{CPU_LIMIT_S:.0f} s for a picture",
    ),
    "too much memory": (
        {"tail": [("ConstantOfShape", ["huge"], {}), ("ReduceMax", ["tail0"], {}), ("Add", ["turned", "tail1"], {})]},
        "memory|alloc|larger",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_network_with_a_fault_is_refused_and_leaves_nothing(encoders: Path, tmp_path: Path, fault: str) -> None:
    changes, message = FAULTS[fault]
    model = onnx_network(**changes)
    with pytest.raises(ConfigurationError, match=message):
        imported(saved(model, tmp_path), encoders)
    assert list(encoders.iterdir()) == []


def external(folder: Path) -> Path:
    onnx.save_model(
        onnx_network(), str(folder / "network.onnx"), save_as_external_data=True, location="weights", size_threshold=0
    )
    return folder / "network.onnx"


def written(name: str, content: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return write


def sparse(folder: Path) -> Path:
    with (folder / "network.onnx").open("wb") as file:
        file.truncate(2 * 1024**3)
    return folder / "network.onnx"


FILES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "cut short": (written("n.onnx", onnx_network().SerializeToString()[:-5000]), "damaged, cut short, or no network"),
    "text": (written("n.onnx", b"no network at all"), "damaged, cut short, or no network"),
    "empty": (written("n.onnx", b""), "has 0 bytes"),
    "cut short, LiteRT": (written("n.tflite", PHOTO.read_bytes()[:-500_000]), "damaged|crashed|cannot be"),
    "ONNX as LiteRT": (written("n.tflite", onnx_network().SerializeToString()), "damaged, cut short, or no network"),
    "data in another file": (external, r"weights lie in another file.*save_as_external_data=False"),
    "2 GB": (sparse, "2,147,483,648 bytes, expected 1 to 536,870,912"),
    "not there": (lambda folder: folder / "nowhere.onnx", "is no file"),
    "two outputs, LiteRT": (lite_with_two_outputs, "2 outputs: 'Identity'.*--output NAME"),
}


@pytest.mark.parametrize("kind", FILES)
def test_file_that_is_no_usable_network_is_refused_and_leaves_nothing(
    encoders: Path, tmp_path: Path, kind: str
) -> None:
    write, message = FILES[kind]
    path = write(tmp_path)
    steps = STEPS if path.suffix == ".onnx" else PHOTO_STEPS
    with pytest.raises(ConfigurationError, match=message):
        imported(path, encoders, steps)
    assert not encoders.exists() or list(encoders.iterdir()) == []


def test_one_of_several_outputs_is_taken_by_its_name(encoders: Path, tmp_path: Path) -> None:
    lite = imported(
        lite_with_two_outputs(tmp_path), encoders, Steps(224, 224, "nhwc", output="Identity", is_normalised=False)
    )
    photo = load_encoder("photo")
    picture = next(photographs())
    assert np.array_equal(lite.embed(lite.pixels(picture)), photo.embed(photo.pixels(picture)))
    path = saved(onnx_network(outputs=("embedding", "second")), tmp_path)
    assert (
        read_steps(imported(path, encoders, Steps(32, 32, "nchw", output="second"), "second").folder).output == "second"
    )
    with pytest.raises(ConfigurationError, match="no output 'third', only: 'embedding'"):
        imported(path, encoders, Steps(32, 32, "nchw", output="third"), "third")


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (Steps(0, 32, "nchw"), "width of 0"),
        (Steps(32, 5000, "nchw"), "height of 5000"),
        (Steps(32, 32, "nchw", mean=(1.0, 2.0)), "--mean takes one finite number, or one for each of 3"),
        (Steps(32, 32, "nchw", scale=(1.0, 0.0, 1.0)), "must not be 0"),
        (Steps(32, 32, "nchw", scale=(float("inf"),)), "finite"),
        (
            Steps(32, 32, "nchw", mean=(0.485, 0.456, 0.406), scale=(0.229, 0.224, 0.225)),
            r"Give --mean 123.675 116.28 103.53 --scale 58",
        ),
        (Steps(32, 32, "nchw", dtype="uint8"), "leave --dtype uint8 out"),
        (Steps(32, 32, "nchw", channels="grey"), "--channels grey would give"),
        (Steps(32, 32, "nhwc"), "--layout nhwc"),
        (Steps(64, 32, "nchw"), r"\('?.*3, 32, 32\) float32; --size 64x32 --layout nchw"),
    ],
)
def test_steps_that_do_not_fit_are_refused(encoders: Path, tmp_path: Path, steps: Steps, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        imported(saved(onnx_network(), tmp_path), encoders, steps)


@pytest.mark.parametrize("name", ["", "Mine", "1st", "a_b", "a" * 64, "../mine", "photo", "contrast", "mine"])
def test_name_that_is_no_name_or_taken_is_refused(encoders: Path, tmp_path: Path, name: str) -> None:
    path = saved(onnx_network(), tmp_path)
    (encoders / "mine").mkdir(parents=True)
    with pytest.raises(ConfigurationError, match=r"cannot be a name|comes with lookalike|already"):
        imported(path, encoders, name=name)


def test_files_that_changed_are_not_loaded(encoders: Path, tmp_path: Path) -> None:
    folder = imported(saved(onnx_network(), tmp_path), encoders).folder
    assert imported_names(encoders) == ["mine"]
    for name in ("encoder.onnx", STEPS_FILE, "card.json"):
        before = (folder / name).read_bytes()
        changed = before.replace(b'"squeeze"', b'"crop"') if name == STEPS_FILE else before[:-5] + b"other"
        (folder / name).write_bytes(changed)
        with pytest.raises(ConfigurationError, match=r"not those that were imported|not whole"):
            load_encoder("mine", encoders)
        (folder / name).write_bytes(before)
    assert load_encoder("mine", encoders).dimensions == 512
    (folder / "card.json").unlink()
    with pytest.raises(ConfigurationError, match="not whole"):
        load_encoder("mine", encoders)


def test_code_in_an_imported_folder_is_not_run(encoders: Path, tmp_path: Path) -> None:
    folder = imported(saved(onnx_network(), tmp_path), encoders).folder
    (folder / "preprocessing.py").write_text("raise SystemExit('run')")
    encoder = load_encoder("mine", encoders)
    assert encoder.embed(encoder.pixels(next(photographs()))).shape == (512,)


def test_without_onnx_runtime_it_says_what_brings_it(
    encoders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(onnx_network(), tmp_path)
    imported(path, encoders)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match="make onnx"):
        imported(path, encoders, name="other")
    with pytest.raises(ConfigurationError, match="make onnx"):
        load_encoder("mine", encoders)
    assert load_encoder("photo", encoders).name == "photo"


def test_nothing_but_an_onnx_network_loads_onnx_runtime() -> None:
    program = """
import sys
import api.app, workers.indexer, workers.embedder.program, model.__main__
from PIL import Image
from model.encoder import load_encoder
encoder = load_encoder("photo")
encoder.embed(encoder.pixels(Image.new("RGB", (9, 9), "red")))
assert not [name for name in sys.modules if name.startswith(("onnx", "google.protobuf"))]
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_command_imports_and_names_what_comes_next(encoders: Path, tmp_path: Path) -> None:
    path = saved(onnx_network(), tmp_path)
    options = ["--name", "mine", "--onnx", str(path), "--size", "32x32", "--layout", "nchw", "--mean", "-1", "2", "3"]
    command = [sys.executable, "-m", "model", "import", *options]
    environment = {**os.environ, "LOOKALIKE_ENCODERS_DIR": str(encoders)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "512 numbers" in done.stdout and "LOOKALIKE_NEXT_ENCODER=mine make up" in done.stdout
    again = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert again.returncode == 1
    assert again.stderr.splitlines()[-1].startswith("error: There is an encoder 'mine'")
    assert "Traceback" not in again.stderr


def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = saved(onnx_network(), tmp_path)
    with pytest.raises(ConfigurationError, match=r"LOOKALIKE_ENCODERS_DIR=.*cannot be written"):
        imported(path, tmp_path / "file" / "encoders")
    with pytest.raises(ConfigurationError, match="lookalike's own"):
        imported(path, ENCODERS)
