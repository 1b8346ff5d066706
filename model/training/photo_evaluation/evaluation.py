"""The whole evaluation of encoders on photographs: likeness, each photo left out, and altered copies."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from contract.errors import ConfigurationError
from model.encoder import load_encoder
from model.training.photo_evaluation.copies import Recalls, choose, search_copies
from model.training.photo_evaluation.crew import Ways, open_crew
from model.training.photo_evaluation.describers import PEERS, check_peers, missing
from model.training.photo_evaluation.edits import EDITS
from model.training.photo_evaluation.gallery import Gallery, read_gallery
from model.training.photo_evaluation.plan import Plan
from model.training.photo_evaluation.searching import precision_left_out


@dataclass(frozen=True)
class PhotoQuality:
    """Shares of 1, higher is better.

    Attributes:
        p_at_1, p_at_10, map_at_10: as of `model.training.evaluate.Quality`, of each photo searched among all others by class.
        copies: by effort: ``normal``, and of encoders ``thorough``.
    """

    p_at_1: float
    p_at_10: float
    map_at_10: float
    copies: dict[str, Recalls]


@dataclass(frozen=True)
class Evaluation:
    """What was measured, on what.

    Attributes:
        qualities: by encoder and peer.
        absent: peers that could not be measured, and what they lack.
        chosen: rows of the photos that were altered.
    """

    plan: Plan
    qualities: dict[str, PhotoQuality]
    absent: dict[str, str]
    gallery: Gallery
    chosen: list[int]

    def as_json(self) -> str:
        """The figures for programs."""
        figures = {"encoders": {name: asdict(quality) for name, quality in self.qualities.items()}}
        return json.dumps({"measured_on": self.measured_on(), **figures, "absent": self.absent}, indent=2)

    def measured_on(self) -> dict[str, Any]:
        """How many photos of what kind; figures mean little without."""
        gallery = self.gallery
        return {
            "photos": gallery.count,
            "classes": len(set(gallery.labels.tolist())),
            "distractors": len(gallery.photos) - gallery.count,
            "gallery": len(gallery.different),
            "altered": len(self.chosen),
            "unreadable": gallery.unreadable,
            "seed": self.plan.seed,
        }

    def as_table(self) -> str:
        """The figures for people: a line for each edit, a column for each encoder, peer and effort."""
        columns = [(name, effort) for name, quality in self.qualities.items() for effort in quality.copies]
        heads = [name if effort == "normal" else f"{name}, {effort}" for name, effort in columns]
        widths = [max(len(head), 6) + 2 for head in heads]
        lines = [_facts(self), "", _line("", heads, widths)]
        for title, figure in (("P@1", "p_at_1"), ("P@10", "p_at_10"), ("mAP@10", "map_at_10")):
            shown = [
                f"{getattr(self.qualities[name], figure):.3f}" if effort == "normal" else "" for name, effort in columns
            ]
            lines.append(_line(title, shown, widths))
        found = [self.qualities[name].copies[effort] for name, effort in columns]
        lines.append(_line("altered photos", [str(recalls.photos) for recalls in found], widths))
        for group in ("easy", "hard"):
            lines.append(
                _line(f"{group}, mean", [f"{getattr(recalls, f'mean_{group}'):.4f}" for recalls in found], widths)
            )
            for edit in EDITS:
                if edit.group == group:
                    shown = [f"{getattr(recalls, group)[edit.name]:.3f}" for recalls in found]
                    lines.append(_line(f"  {edit.name}", shown, widths))
        lines += [f"{peer} was not measured: {lack}." for peer, lack in self.absent.items()]
        return "\n".join(lines)


def evaluate_photos(plan: Plan) -> Evaluation:
    """Measure every encoder and peer of the plan on the same photos and the same copies of them.

    Raises:
        ConfigurationError: a folder holds too few photos, or a name is not known.
        DependencyError: a process that decodes photos ended.
    """
    check_peers(plan.peers)
    for name in plan.encoders:
        load_encoder(name)
    absent = {peer: lack for peer in plan.peers if (lack := missing(peer, plan.sscd)) is not None}
    ways = Ways((*plan.encoders, *(peer for peer in PEERS if peer in plan.peers and peer not in absent)), plan.sscd)
    if not ways.names:
        raise ConfigurationError(f"Nothing is left to measure: {absent or 'no encoder and no peer was named'}.")
    with open_crew(plan.processes) as crew:
        gallery = read_gallery(plan.photos, plan.distractors, ways, crew)
        chosen = choose(gallery, plan.copies, plan.seed)
        recalls = search_copies(gallery, chosen, ways, plan, crew)
    qualities = {
        name: PhotoQuality(*precision_left_out(gallery.numbers[name][: gallery.count], gallery.labels), recalls[name])
        for name in ways.names
    }
    return Evaluation(plan, qualities, absent, gallery, chosen)


def _facts(evaluation: Evaluation) -> str:
    on = evaluation.measured_on()
    left_out = ", ".join(f"{count} {reason}" for reason, count in on["unreadable"].items())
    return (
        f"{on['photos']} photos of {on['classes']} classes, each searched among the others; {on['altered']} of them altered in "
        f"{len(EDITS)} ways and searched among {on['gallery']} different ones, distractors included."
        + (f"\nLeft out: {left_out}." if left_out else "")
    )


def _line(title: str, cells: list[str], widths: list[int]) -> str:
    return f"{title:16}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
