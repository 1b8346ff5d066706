"""Photographs to measure with: as many as asked for, all different, the folder's own first."""

from pathlib import Path

import numpy as np
import pytest

from bench import photo_embeddings
from bench.photo_embeddings import PhotoEmbeddings
from bench.photographs import gallery_photographs, photographs_of
from contract.messages import IMAGE_SIZE_BYTES_MAX
from model.encoder import load_encoder
from model.pictures.images import decode


def test_the_gallery_has_as_many_different_photographs_as_asked_for() -> None:
    made = list(gallery_photographs(60, None))
    assert made == list(gallery_photographs(60, None))
    assert len({decode(value).pixels_sha256 for value in made}) == 60
    assert all(max(decode(value).image.size) == 500 for value in made)


def test_a_folders_photographs_come_first_and_what_is_no_picture_is_left_out(tmp_path: Path) -> None:
    files = photographs_of((40, 30), 3)
    for number, value in enumerate(files):
        (tmp_path / f"{number}.jpg").write_bytes(value)
    (tmp_path / "0.txt").write_text("nothing")
    made = list(gallery_photographs(8, tmp_path))
    assert made[:3] == files
    assert len({decode(value).pixels_sha256 for value in made}) == 8
    assert list(gallery_photographs(2, tmp_path)) == files[:2]


def test_a_query_of_12_megapixels_may_be_searched_with() -> None:
    (value,) = photographs_of((4000, 3000), 1)
    picture = decode(value)
    assert (picture.width, picture.height) == (4000, 3000)
    assert 1_000_000 < len(value) < IMAGE_SIZE_BYTES_MAX


def test_embeddings_of_photographs_are_kept_and_mixtures_are_as_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photo_embeddings, "_PIECE", 4)
    made = PhotoEmbeddings(load_encoder("photo"), tmp_path, None, real_max=8)
    real, queries = made.gallery(6), made.queries(3)
    monkeypatch.setattr(photo_embeddings, "ProcessPoolExecutor", None)  # nothing is embedded again
    gallery = made.gallery(12)
    assert (gallery[:6] == real).all()
    assert len(np.unique(np.concatenate([gallery, queries]), axis=0)) == 15
    assert np.linalg.norm(gallery, axis=1) == pytest.approx(np.linalg.norm(real[0]), rel=1e-4)
