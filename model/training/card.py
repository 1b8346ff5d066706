"""An encoder's card: what it is, what it was trained on, how well it finds; with a picture of its neighbours."""

import json
from dataclasses import asdict
from typing import Any

import numpy as np
from PIL import Image

from model import mnist
from model.encoder import Encoder
from model.training.drawings import draw_neighbours
from model.training.evaluate import NEIGHBOURS, Quality, encoder_embed, nearest_rows


def write_card(encoder: Encoder, facts: dict[str, Any]) -> None:
    """Write ``card.json``: `facts` and the fingerprint, which is of the files as they are now."""
    card = {**facts, "fingerprint": Encoder(encoder.folder).fingerprint}
    (encoder.folder / "card.json").write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n")


def write_quality(encoder: Encoder, quality: Quality) -> None:
    """Put measured figures on the card, and draw ``neighbours.png``: a test digit of each label and what it finds."""
    write_card(encoder, {**encoder.card, "quality": asdict(quality)})
    gallery, queries = mnist.images("train"), _one_of_each_label()
    embed = encoder_embed(encoder)
    embeddings = embed(map(Image.fromarray, gallery))
    asked = embed(Image.fromarray(mnist.images("test")[query]) for query in queries)
    found = nearest_rows(embeddings, asked, NEIGHBOURS)
    is_same = mnist.labels("train")[found] == mnist.labels("test")[queries][:, None]
    distances = np.linalg.norm(embeddings[found] - asked[:, None], axis=-1)
    picture = draw_neighbours(mnist.images("test")[queries], gallery[found], is_same, distances)
    picture.save(encoder.folder / "neighbours.png", optimize=True)


def _one_of_each_label() -> list[int]:
    """Places of the second test digit of each label; the first ones are in the picture of reconstructions."""
    return [int(np.flatnonzero(mnist.labels("test") == label)[1]) for label in range(10)]
