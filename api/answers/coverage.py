"""What an answer covers: by partition, all records below an offset."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from api.answers.as_of import Past
from contract.record_key import RecordKey
from gallery.generations.manifest import Manifest
from gallery.table.manifest import TableManifest
from runtime.planted import planted
from topics.offsets import EndOffsets


@dataclass(slots=True, kw_only=True)
class Coverage:
    """What an answer covers: all records of `log` below `offsets`."""

    index_id: str
    generation: int
    log: str
    offsets: Annotated[
        dict[str, int], Field(description="By partition, the offset behind the last record that is covered.")
    ]
    end_offsets: Annotated[dict[str, int] | None, Field(description="Where Kafka's partitions end; null when unknown.")]
    count: int
    exact: Annotated[
        bool,
        Field(
            description=(
                "Whether it holds exactly what the records below `offsets` say, and the nearest of that. With the engine `cassandra`, all "
                "of that was there to be found, perhaps a little more, and nearly always the nearest are found: `GET /v1/index` has `recall`."
            )
        ),
    ] = True
    encoder: str
    digest: Annotated[str, Field(description="Of the files that were searched.")]
    set_aside: Annotated[
        int,
        Field(
            description=(
                "Records below `offsets` whose stored row cannot be used; what ids of theirs mean, their other records say."
            )
        ),
    ]
    as_of: Annotated[
        str | None,
        Field(
            description=(
                "The earlier time that was asked for: then `offsets` and `count` are those of that time. Null for an answer as of now."
            )
        ),
    ] = None
    content_digest: Annotated[
        str | None,
        Field(
            description=(
                "Of the images that were searched, whatever files hold them: at equal `offsets` that of another machine's index is "
                "the same. Null for an answer as of an earlier time."
            )
        ),
    ] = None
    matched: Annotated[
        int | None,
        Field(
            description="Images that the filter holds for, of `count`; null without a filter, and where the engine does not know."
        ),
    ] = None
    candidates: Annotated[
        int | None,
        Field(
            description="How many of about the nearest images were looked at; null of an exact answer, which needs none."
        ),
    ] = None
    fewer_by_filter: Annotated[
        bool,
        Field(
            description="The filter left fewer of the candidates than were asked for: others that are farther away may be there."
        ),
    ] = False


def coverage_of(
    manifest: Manifest,
    ends: EndOffsets | None,
    past: Past | None = None,
    *,
    matched: int | None = None,
    candidates: int | None = None,
    fewer_by_filter: bool = False,
) -> Coverage:
    """What an answer from this generation covers.

    Args:
        past: the earlier time that it is an answer of.
        matched: images that its filter holds for, None without one.
        candidates: as `Coverage` has it.
        fewer_by_filter: as `Coverage` has it.
    """
    is_known = ends is not None and ends.log == manifest.log
    offsets = dict(past.offsets) if past else manifest.offsets
    if planted("api-swaps-partitions"):
        offsets = dict(zip(offsets, reversed(offsets.values()), strict=True))
    return Coverage(
        index_id=manifest.index_id,
        generation=manifest.generation,
        log=manifest.log,
        offsets=offsets,
        end_offsets={str(p): end for p, end in ends.offsets.items()} if is_known and ends else None,
        count=past.selection.count if past else manifest.count,
        exact=not isinstance(manifest, TableManifest),
        encoder=manifest.encoder,
        digest=manifest.digest,
        content_digest=None if past else manifest.content_digest,
        set_aside=sum(manifest.set_aside.values()),
        as_of=past.asked if past else None,
        matched=matched,
        candidates=candidates,
        fewer_by_filter=fewer_by_filter,
    )


def is_covered(manifest: Manifest, key: RecordKey) -> bool:
    """Whether the generation says everything that the record at `key` says."""
    for coverage in manifest.logs:
        if coverage.log == key.log:
            partition = coverage.partitions.get(str(key.partition))
            return partition is not None and key.offset < partition.next_offset
    return False
