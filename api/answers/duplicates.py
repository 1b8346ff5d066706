"""Duplicates as the API answers them: pages of groups from one run, as far as they still hold."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from api.answers.matches import EditAnswer, OutlineAnswer
from api.answers.problems import ProblemError
from api.answers.records import Degraded, ImageId, Metadata, Source, image_url, metadata_object, source_of
from contract.record_key import RecordKey
from gallery.duplicates.current import AreApart, IsMeant, record_of, surviving
from gallery.duplicates.found import NOBODY, Duplicate, DuplicateClass, DuplicateGroup, FoundDuplicates, Judgement
from gallery.store.distinct import DistinctSet
from gallery.store.rows import ImageRecord

DISTINCT_IMAGES_MAX = 1000
_IDS_MAX = 20
SeenAt = Annotated[
    str | None,
    Field(
        pattern=r"^[^:]{1,250}:[^:]{1,64}:[0-9]{1,9}:[0-9]{1,18}$",
        description="The Kafka record that was seen, as log:partition:offset; without it the one that the id means now.",
    ),
]


class DuplicateImage(BaseModel):
    """An image of a group. What was done to it is null unless it is an altered copy."""

    id: str
    metadata: Metadata
    width: int
    height: int
    size_bytes: int
    thumbnail_url: str
    original_url: str
    source: Source
    compared_with: str | None = Field(
        description="Id of the image of the group that it was compared with; null for the best one, which comes first, and while that one is gone."
    )
    distance: float | None = Field(description="To that one; null for the best one.")
    made_from_it: bool | None = Field(
        description="Whether this image was made from the other, by verdict; false where the other was made from this one, which is smaller or younger."
    )
    edits: list[EditAnswer] | None = Field(description="What was done to the one to get the other.")
    alignment: list[list[float]] | None = Field(description="As in a search, with the one that was made as the query.")
    residual: float | None
    confidence: float | None
    outline: OutlineAnswer | None


class DuplicateGroupAnswer(BaseModel):
    """At least two images of one class, the best one first: most pixels, then oldest by Kafka's time, then by id."""

    group: int = Field(description="Its number in the run.")
    kind: DuplicateClass = Field(serialization_alias="class")
    count: int = Field(description="Images that it had when the run was made.")
    images: list[DuplicateImage]


class DuplicatesOfImage(BaseModel):
    """A group that an image is in."""

    group: int = Field(description="As `GET /v1/duplicates?group=` takes it.")
    kind: DuplicateClass = Field(serialization_alias="class")
    best: bool = Field(description="Whether the image is the best one of the group.")
    ids: list[str] = Field(description="The others, the best one first; 20 at most.")


class ClassCount(BaseModel):
    """Groups of a class in a run, and images in them beside the best ones."""

    groups: int
    duplicates: int


class DuplicateRun(BaseModel):
    """The run that an answer comes from: it compared everything that its coverage names."""

    run: str
    index_id: str
    generation: int
    log: str
    offsets: dict[str, int]
    digest: str
    count: int = Field(description="Images that were compared.")
    max_distance: float
    finished_at: int
    took_s: float
    current: bool = Field(description="Whether nothing has changed since.")
    unjudged: int = Field(description="Pairs that wait for a verdict of a later run; until then they are near ones.")
    unknown: int = Field(description="Images without a stored record, compared by their embeddings alone.")
    classes: dict[DuplicateClass, ClassCount] = Field(description="As they were when the run was made.")


class DuplicateProgress(BaseModel):
    """How far the run has come that is going on."""

    step: str
    share: float = Field(description="Of that step, 0 to 1.")


class DuplicatesAnswer(BaseModel):
    """A page of groups; without a run so far, how far the first one has come."""

    state: Literal["ready", "computing"]
    progress: DuplicateProgress | None = Field(description="Of the run that is going on; null without one.")
    run: DuplicateRun | None = Field(description="Null before the first run has ended: then the status is 202.")
    groups: list[DuplicateGroupAnswer]
    next: str | None = Field(description="The cursor of the next page, null behind the last one.")
    degraded: Degraded


class ShownImage(BaseModel):
    """An image that a person saw."""

    id: ImageId
    at: SeenAt = None


class NoDuplicates(BaseModel):
    """Images no two of which are duplicates."""

    images: list[ShownImage] = Field(min_length=2, max_length=DISTINCT_IMAGES_MAX)


class DistinctAnswer(BaseModel):
    """Images no two of which are duplicates, by the records that brought them; a replaced image counts anew."""

    name: str = Field(description="Names the set, to forget it.")
    images: list[ShownImage]
    created_at: int


class DistinctSets(BaseModel):
    """All that was said."""

    sets: list[DistinctAnswer]


@dataclass(frozen=True)
class ShownGroup:
    """A group as a page shows it, before its records are read."""

    number: int
    group: DuplicateGroup
    images: list[Duplicate]


def shown_groups(
    found: FoundDuplicates,
    is_meant: IsMeant,
    are_apart: AreApart,
    *,
    numbers: Iterable[int],
    kinds: frozenset[DuplicateClass],
    limit: int,
    images: slice,
) -> tuple[list[ShownGroup], int | None]:
    """Up to `limit` groups with these numbers that still hold, and the number behind the last one, None at the end.

    Args:
        images: which of each group's images.
    """
    shown: list[ShownGroup] = []
    for number in numbers:
        if len(shown) == limit:
            return shown, number
        group = found.groups[number]
        if group.kind in kinds:
            members = list(islice(surviving(group, is_meant, are_apart), images.start, images.stop))
            if members:
                shown.append(ShownGroup(number, group, members))
    return shown, None


def group_answer(
    shown: ShownGroup, records: Mapping[RecordKey, ImageRecord], is_meant: IsMeant, collection: str
) -> DuplicateGroupAnswer:
    """A group with what the store knows of its images."""
    group = shown.group
    best = shown.images[0]
    images = []
    for image in shown.images:
        other = group.members[image.of] if image.of != NOBODY and image is not best else None
        if other is not None and not is_meant(other):
            other = best if image.judgement is None else None
        images.append(_image_answer(image, other, records.get(record_of(image)), collection))
    return DuplicateGroupAnswer(group=shown.number, kind=group.kind, count=len(group.members), images=images)


def duplicates_of(
    image_id: str, groups: Mapping[int, DuplicateGroup], is_meant: IsMeant, are_apart: AreApart
) -> list[DuplicatesOfImage]:
    """What the newest run says of an image, as far as it still holds.

    Args:
        groups: that the id was in, as `api.live.duplicates.DuplicateRuns.groups_with` finds them.
    """
    told = []
    for number, group in groups.items():
        ids = [image.id for image in surviving(group, is_meant, are_apart)]
        if image_id in ids:
            others = [each for each in ids if each != image_id]
            told.append(
                DuplicatesOfImage(group=number, kind=group.kind, best=ids[0] == image_id, ids=others[:_IDS_MAX])
            )
    return told


def run_answer(found: FoundDuplicates, *, is_current: bool) -> DuplicateRun:
    """What is known of a run."""
    classes: dict[DuplicateClass, ClassCount] = {}
    for group in found.groups:
        counted = classes.setdefault(group.kind, ClassCount(groups=0, duplicates=0))
        counted.groups += 1
        counted.duplicates += len(group.members) - 1
    same = {name: getattr(found, name) for name in DuplicateRun.model_fields if hasattr(found, name)}
    return DuplicateRun(**same, finished_at=found.finished_at_ms, current=is_current, classes=classes)


def distinct_answer(told: DistinctSet) -> DistinctAnswer:
    """A set as the API names it."""
    images = [ShownImage(id=image_id, at=":".join(map(str, key))) for image_id, key in told.images]
    return DistinctAnswer(name=told.name, images=images, created_at=told.created_at_ms)


def run_gone() -> ProblemError:
    """410: pages go on in the run in which they began."""
    return ProblemError(
        410, "run-gone", "The run that this cursor belongs to was replaced by a newer one: begin again without cursor."
    )


def _image_answer(
    image: Duplicate, other: Duplicate | None, record: ImageRecord | None, collection: str
) -> DuplicateImage:
    key = record_of(image)
    judgement = image.judgement if other is not None else None
    return DuplicateImage(
        id=image.id,
        metadata=metadata_object(record),
        width=image.width,
        height=image.height,
        size_bytes=image.size_bytes,
        thumbnail_url=image_url(collection, image.id, key, "thumbnail"),
        original_url=image_url(collection, image.id, key, "original"),
        source=source_of(key, image.kafka_time_ms),
        compared_with=other.id if other else None,
        distance=image.distance if other else None,
        made_from_it=not judgement.is_reversed if judgement else None,
        edits=_edits(judgement),
        alignment=(judgement.alignment or None) if judgement else None,
        residual=judgement.residual if judgement else None,
        confidence=judgement.confidence if judgement else None,
        outline=OutlineAnswer(*judgement.outline) if judgement and judgement.outline[0] else None,
    )


def _edits(judgement: Judgement | None) -> list[EditAnswer] | None:
    if judgement is None:
        return None
    return [EditAnswer(name=name, amount=round(amount, 4), unit=unit) for name, amount, unit in judgement.edits]  # type: ignore[arg-type]
