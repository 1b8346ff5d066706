"""Photographs to measure with: as many as asked for, all different, the folder's own first."""

from pathlib import Path

from bench.photographs import gallery_photographs, photographs_of
from contract.messages import IMAGE_SIZE_BYTES_MAX
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
