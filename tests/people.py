"""A folder of pictures as people have them: photographs, nested, with odd names, and much that is no picture."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter
from sklearn.datasets import load_sample_images

_NAMES = (
    "IMG_{}.jpg",
    "Holiday 2024/{} am Strand.JPG",
    "Holiday 2024/Küche & Co/🐈 {}.png",
    "scans/{}.webp",
    "no suffix {}",
)


def make_people_folder(folder: Path, *, copies: int) -> dict[str, bytes]:
    """Make `copies` pictures of each kind of name, and 3 notes, 2 films, 2 side files and so on; the pictures by their ids."""
    made = {}
    for number, picture in zip(range(copies * len(_NAMES)), photographs(), strict=False):
        key = _NAMES[number % len(_NAMES)].format(number)
        kind = {".png": "PNG", ".webp": "WEBP"}.get(Path(key).suffix, "JPEG")
        buffer = BytesIO()
        picture.save(buffer, kind)
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(buffer.getvalue())
        made[key] = buffer.getvalue()
    for name in ("notes.txt", "Holiday 2024/packing list.txt", "scans/readme.TXT"):
        (folder / name).write_text("nothing to see")
    for name in ("clip.mov", "Holiday 2024/surf.MOV"):
        (folder / name).write_bytes(b"\0\0\0\x14ftypqt  " + bytes(100_000))
    for name in ("IMG_0.jpg.xmp", "scans/3.xmp"):
        (folder / name).write_text('<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>')
    (folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1" + bytes(100))
    (folder / "saved page.jpg").write_text("<html>404</html>")
    (folder / "empty.jpg").touch()
    (folder / "of the system.png").symlink_to("/etc/hostname")
    (folder / "etc").symlink_to("/etc", target_is_directory=True)
    return made


def photographs() -> Iterator[Image.Image]:
    """Ever other parts of two photographs, and patterns of chance between them."""
    scenes = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    chance = np.random.default_rng(1)
    while True:
        for scene in scenes:
            width, height = (int(side * chance.uniform(0.2, 0.35)) for side in scene.size)
            left, top = (
                int(chance.uniform(0, whole - part)) for whole, part in zip(scene.size, (width, height), strict=True)
            )
            yield scene.crop((left, top, left + width, top + height))
        colours = chance.integers(0, 256, (chance.integers(3, 9), chance.integers(3, 9), 3), np.uint8)
        yield Image.fromarray(colours).resize((320, 240), Image.Resampling.NEAREST).filter(ImageFilter.GaussianBlur(2))
