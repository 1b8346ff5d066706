"""What a source hands over: an image to publish, one to delete, or the reason why there is none."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Outgoing:
    """One image on its way to the topic.

    Attributes:
        name: what the source calls it, for reports and the state file.
        stamp: what told that a file had changed: size in bytes, modification and change time in ns; empty for other sources.
    """

    name: str
    image_id: str
    value: bytes
    metadata: dict[str, object] = field(default_factory=dict)
    stamp: tuple[int, ...] = ()


@dataclass(frozen=True)
class Departed:
    """An image whose file has left the folder: it is to be deleted."""

    name: str
    image_id: str


@dataclass(frozen=True)
class Failure:
    """One thing that could not be published; `reason` is a stable code, `detail` a sentence."""

    name: str
    reason: str
    detail: str


@dataclass(frozen=True)
class LeftOut:
    """One thing that is no picture, or is not looked at; `kind` as in `producers/left_out.py`, `detail` a sentence."""

    name: str
    kind: str
    detail: str


Handed = Outgoing | Departed | Failure | LeftOut
