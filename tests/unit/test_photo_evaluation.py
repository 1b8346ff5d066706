"""Evaluation on photographs: its counts are those of brute force, it searches as the product does, and says what it left out."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from contract.errors import ConfigurationError
from model.encoder import load_encoder
from model.pictures.hypotheses import NAMES, WHOLE, hypotheses, margins
from model.training.evaluate import digit_encoder_names
from model.training.photo_evaluation.copies import first_thoroughly, others_of
from model.training.photo_evaluation.describers import PEERS, load_describer, missing
from model.training.photo_evaluation.edits import EDITS, edited_copy
from model.training.photo_evaluation.evaluation import Evaluation, evaluate_photos
from model.training.photo_evaluation.photos import read, to_alter
from model.training.photo_evaluation.picture import draw_found
from model.training.photo_evaluation.plan import Plan
from model.training.photo_evaluation.searching import nearest, precision_left_out, ranks

# Half a minute on two quiet cores: thirty-one copies of each photo, embedded again by brute force.
pytestmark = pytest.mark.timeout(900)

ENCODER = "contrast"
COPIES, THOROUGH = 4, 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parts of two photographs as photos of two classes, one of them twice; a note; a file that lacks its end."""
    folder = tmp_path_factory.mktemp("photos")
    for label, pixels in zip(("china", "flower"), load_sample_images().images, strict=True):
        (folder / label).mkdir()
        for number in range(6):
            part = pixels[20 * number : 20 * number + 200, 50 * number : 50 * number + 300]
            Image.fromarray(part).reduce(2).save(folder / label / f"{number}.png")
    (folder / "flower" / "again.png").write_bytes((folder / "flower" / "3.png").read_bytes())
    (folder / "notes.txt").write_text("no picture")
    (folder / "cut.png").write_bytes((folder / "china" / "0.png").read_bytes()[:2000])
    return folder


@pytest.fixture(scope="module")
def distractors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("distractors")
    for seed in range(4):
        pixels = np.random.default_rng(seed).integers(0, 256, (6, 9, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((90, 60)).save(folder / f"{seed}.jpg")
    return folder


@pytest.fixture(scope="module")
def plan(folder: Path, distractors: Path) -> Plan:
    return Plan(folder, (ENCODER,), distractors, ("pixels",), None, COPIES, THOROUGH, seed=3, processes=1)


@pytest.fixture(scope="module")
def evaluation(plan: Plan) -> Evaluation:
    return evaluate_photos(plan)


@pytest.mark.parametrize("name", [ENCODER, "pixels"])
def test_recalls_are_those_of_brute_force_over_the_same_copies(evaluation: Evaluation, name: str) -> None:
    gallery, chosen = evaluation.gallery, evaluation.chosen
    describe = load_describer(name).describe
    rows = gallery.different.tolist()
    everything = np.stack([describe(read(gallery.photos[row]).image) for row in rows]).astype(np.float64)
    recalls = evaluation.qualities[name].copies["normal"]
    assert len(chosen) == len(set(chosen)) == recalls.photos == COPIES
    for edit in EDITS:
        found = 0
        for place, row in enumerate(chosen):
            original = read(gallery.photos[row])
            others = [to_alter(read(gallery.photos[other])) for other in others_of(chosen, place)]
            copy = edited_copy(to_alter(original), others, edit, original.pixels_sha256, evaluation.plan.seed)
            order = np.argsort(np.linalg.norm(everything - describe(copy), axis=1), kind="stable")
            found += row in [rows[first] for first in order[: edit.shown]]
        assert getattr(recalls, edit.group)[edit.name] == pytest.approx(found / COPIES)
    assert recalls.mean_hard == pytest.approx(np.mean(list(recalls.hard.values())), abs=1e-4)


def test_thorough_recalls_are_those_of_every_hypothesis_with_its_margin(evaluation: Evaluation) -> None:
    gallery, chosen, encoder = evaluation.gallery, evaluation.chosen, load_encoder(ENCODER)
    everything = gallery.numbers[ENCODER][gallery.different].astype(np.float64)
    recalls = evaluation.qualities[ENCODER].copies["thorough"]
    assert recalls.photos == THOROUGH
    for edit in EDITS:
        found = 0
        for place, row in enumerate(chosen[:THOROUGH]):
            original = read(gallery.photos[row])
            others = [to_alter(read(gallery.photos[other])) for other in others_of(chosen, place)]
            copy = edited_copy(to_alter(original), others, edit, original.pixels_sha256, evaluation.plan.seed)
            embeddings = {name: encoder.embed(encoder.pixels(each)) for name, each in hypotheses(copy)}
            added = margins(embeddings[WHOLE])
            scores = [np.linalg.norm(everything - each, axis=1) + added[name] for name, each in embeddings.items()]
            order = np.argsort(np.min(scores, axis=0), kind="stable")[: edit.shown]
            found += row in gallery.different[order]
        assert getattr(recalls, edit.group)[edit.name] == pytest.approx(found / THOROUGH), edit.name


def test_the_first_thoroughly_found_are_told_with_distance_and_hypothesis() -> None:
    random = np.random.default_rng(4)
    gallery = random.normal(size=(50, 8)).astype(np.float32)
    embeddings = random.normal(size=(len(NAMES), 8)).astype(np.float32) * 9
    embeddings[NAMES.index("mirrored")] = gallery[7]
    row, distance, name = first_thoroughly(embeddings, gallery, 3)[0]
    assert (row, name) == (7, "mirrored")
    assert distance == pytest.approx(0, abs=1e-2)


def test_precision_is_of_each_photo_among_all_others(evaluation: Evaluation) -> None:
    gallery = evaluation.gallery
    described = gallery.numbers[ENCODER][: gallery.count].astype(np.float64)
    assert gallery.count == 13
    first, ten = 0, 0
    for row, query in enumerate(described):
        order = [other for other in np.argsort(np.linalg.norm(described - query, axis=1)) if other != row][:10]
        first += gallery.labels[order[0]] == gallery.labels[row]
        ten += int((gallery.labels[order] == gallery.labels[row]).sum())
    quality = evaluation.qualities[ENCODER]
    assert quality.p_at_1 == pytest.approx(first / 13, abs=1e-4)
    assert quality.p_at_10 == pytest.approx(ten / 130, abs=1e-4)


def test_a_picture_in_two_files_is_one_of_the_gallery(evaluation: Evaluation) -> None:
    gallery = evaluation.gallery
    assert (len(gallery.photos), len(gallery.different)) == (17, 16)
    assert (gallery.different[gallery.different < gallery.count].size, gallery.unreadable) == (
        12,
        {"truncated": 1, "unsupported-type": 1},
    )


def test_several_processes_find_the_same(plan: Plan, evaluation: Evaluation) -> None:
    assert evaluate_photos(replace(plan, processes=2)).qualities == evaluation.qualities


def test_table_and_picture_show_every_edit(evaluation: Evaluation) -> None:
    table = evaluation.as_table()
    assert all(f"\n  {edit.name} " in table for edit in EDITS)
    assert "contrast, thorough" in table and "1 truncated, 1 unsupported-type" in table
    picture = draw_found(evaluation)
    colours = {colour for _, colour in picture.getcolors(1_000_000) or []}
    assert {(0x2E, 0x9E, 0x5B), (0xD6, 0x45, 0x45)} <= colours


def test_json_has_the_figures_of_every_encoder_and_what_they_were_measured_on(evaluation: Evaluation) -> None:
    told = json.loads(evaluation.as_json())
    assert told["measured_on"] | {"photos": 13, "gallery": 16, "classes": 2, "distractors": 4} == told["measured_on"]
    encoder = told["encoders"][ENCODER]
    assert set(encoder) == {"p_at_1", "p_at_10", "map_at_10", "copies"}
    assert set(encoder["copies"]) == {"normal", "thorough"}
    assert set(told["encoders"]["pixels"]["copies"]) == {"normal"}
    assert len(encoder["copies"]["normal"]["easy"]) == 16 and len(encoder["copies"]["normal"]["hard"]) == 15


def test_ranks_count_what_is_nearer_and_ties_that_come_before() -> None:
    random = np.random.default_rng(1)
    gallery, queries = (random.integers(-3, 4, (n, 3)).astype(np.int8) for n in (9000, 300))
    originals = random.integers(0, 9000, 300)
    expected = []
    for query, original in zip(queries, originals, strict=True):
        squared = ((gallery.astype(int) - query) ** 2).sum(1)
        expected.append(np.flatnonzero(np.argsort(squared, kind="stable") == original)[0])
    assert ranks(queries, originals, gallery).tolist() == expected


def test_nearest_are_the_first_k_with_ties_by_row_in_galleries_of_any_size() -> None:
    random = np.random.default_rng(2)
    queries = random.integers(-2, 3, (20, 3)).astype(np.float32)
    for count in (1, 3, 500):
        gallery = random.integers(-2, 3, (count, 3)).astype(np.float32)
        for query, answer in zip(queries, nearest(queries, gallery, 4), strict=True):
            distances = np.linalg.norm(gallery - query, axis=1)
            assert [row for _, row in answer] == np.argsort(distances, kind="stable")[:4].tolist()
            assert [distance for distance, _ in answer] == pytest.approx(sorted(distances.tolist())[:4], abs=1e-3)


def test_precision_of_few_photos_counts_all_others() -> None:
    described = np.array([[0.0], [1.0], [5.0]], np.float32)
    assert precision_left_out(described, np.array(["a", "a", "b"]))[:2] == (0.6667, 0.3333)


def test_peers_that_are_here_tell_the_same_picture_and_other_ones_apart() -> None:
    china, flower = (Image.fromarray(pixels) for pixels in load_sample_images().images)
    here = [peer for peer in PEERS if missing(peer, None) is None]
    assert "pixels" in here
    for peer in here:
        describe = load_describer(peer).describe
        same, again, other = (describe(picture).astype(float) for picture in (china, china.convert("RGBA"), flower))
        assert np.abs(same - again).max() < 1e-5 < np.abs(same - other).max()


@pytest.mark.parametrize(("peer", "package"), [("pdq", "pdqhash"), ("phash", "imagehash"), ("sscd", "onnxruntime")])
def test_a_peer_without_its_package_is_absent_and_says_what_brings_it(
    monkeypatch: pytest.MonkeyPatch, plan: Plan, peer: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    reason = missing(peer, None)
    assert reason is not None and package in reason and "make bench-deps" in reason
    with pytest.raises(ConfigurationError, match=f"Nothing is left to measure.*{package}"):
        evaluate_photos(replace(plan, encoders=(), peers=(peer,)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"photos": Path("nowhere")}, "nowhere is not a folder"),
        ({"copies": 3}, "too few: edits show up to 4"),
        ({"peers": ("sift",)}, "no peer 'sift', only: pdq"),
        ({"encoders": ("vgg",)}, "no encoder 'vgg'"),
    ],
)
def test_what_cannot_be_measured_is_refused(plan: Plan, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        evaluate_photos(replace(plan, **changes))  # type: ignore[arg-type]


def test_folders_without_photos_are_refused(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="There is no file"):
        evaluate_photos(replace(plan, photos=tmp_path))
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(ConfigurationError, match=r"None of the 1 files .*unsupported-type"):
        evaluate_photos(replace(plan, photos=tmp_path))


def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "model", "evaluate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


def test_the_command_prints_json_and_draws(folder: Path, tmp_path: Path) -> None:
    done = run(
        "--photos", folder, "--encoder", ENCODER, "--copies", 4, "--thorough-copies", 0, "--peers", "pixels",
        "--picture", tmp_path / "found.png", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["encoders"]) == {ENCODER, "pixels"}
    with Image.open(tmp_path / "found.png") as picture:
        assert picture.width > 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--picture", "found.png"), "name some with --photos"),
        (("--photos", "nowhere"), "nowhere is not a folder"),
        (("--photos", "nowhere", "--write"), "--write belongs to digits"),
    ],
)
def test_the_command_refuses_what_does_not_fit(arguments: tuple[str, ...], message: str) -> None:
    done = run(*arguments)
    assert (done.returncode, message in done.stderr, "Traceback" in done.stderr) == (1, True, False)


def test_digits_are_evaluated_with_encoders_that_know_them() -> None:
    names = digit_encoder_names()
    assert {"contrast", "report-autoencoder"} <= set(names)
    assert all(load_encoder(name).card["knows_drawings"] for name in names)
