"""Whether the filter of a watch takes a feed row: answered from the rows' metadata as a search answers it from an index's."""

from collections.abc import Callable, Collection, Sequence

from gallery.filters import parse_filter
from gallery.generations.asked_metadata import AskedRows
from gallery.generations.columns import build_columns
from gallery.store.rows import FeedRow


def select_rows(rows: Sequence[FeedRow]) -> Callable[[str, int], bool]:
    """Of these rows, whether a filter (JSON text that was read before) takes the one of a number."""

    def find_ids(ids: Collection[str]) -> list[int]:
        return [number for number, row in enumerate(rows) if row.image_id in ids]

    asked = AskedRows(len(rows), lambda: build_columns([row.metadata or "" for row in rows]), find_ids)
    masks = {}

    def takes(filter_text: str, number: int) -> bool:
        if filter_text not in masks:
            masks[filter_text] = asked.holding(parse_filter(filter_text))
        return bool(masks[filter_text][number])

    return takes
