"""Bugs that tests plant in the real code, so that what is to find bugs is seen to find them; nothing happens unless one is named.

LOOKALIKE_PLANTED="fold-forgets-deletes" plants that one. It is refused outside of the tests, which set LOOKALIKE_TEST_SEED. Where a
bug may stand, a look into an empty set is all that it costs.
"""

import os
from functools import cache

from contract.errors import ConfigurationError

PLANTED_VARIABLE = "LOOKALIKE_PLANTED"
_TESTS_VARIABLE = "LOOKALIKE_TEST_SEED"
PLANTED_BUGS = {
    "embedder-accepts-bad-metadata": "A record with bad metadata is taken as an image without any.",
    "embedder-hides-rejections": "Rejected records are not published to the rejected topic.",
    "embedder-acknowledges-first": "Offsets are committed before the feed is written, and reading goes on where they say.",
    "fold-passes-gaps": "The watermark goes on past rows that are still being written.",
    "fold-forgets-deletes": "Deletions are covered, and do nothing.",
    "fold-takes-the-last-read": "Of two records of an id the one that is read later wins, not the one that is higher.",
    "fold-takes-kafkas-time": "Records are ordered by Kafka's own times, also where these go back.",
    "tail-keeps-replaced": "An image that was replaced since the base stays beside its new one.",
    "merge-drops-the-tail": "What came while a base was built is lost when it is taken.",
    "base-forgets-deletes": "A base forgets deletions, so that an older image of a slower partition comes back.",
    "writer-publishes-older": "After every fifth generation an older one is published once more.",
    "filter-shifted-by-a-row": "Filters are answered with the metadata of the next image.",
    "as-of-one-more": "An earlier time includes one record too many of each partition.",
    "as-of-forgets-replaced": "An earlier time does not find what a base keeps of replaced images.",
    "search-reverses-ties": "Images of equal distance come in the wrong order.",
    "search-in-float32": "Distances are rounded to float32.",
    "api-ignores-min-offsets": "`min_offsets` is not waited for.",
    "api-answers-from-another-collection": "Searches for 3 images are answered from the index of another collection.",
    "api-swaps-partitions": "Coverage names the offset of one partition as that of another.",
    "watcher-tells-twice": "Every match is told twice.",
    "watcher-skips-the-last": "The last of the records that were read together is not compared.",
    "watcher-notes-first": "Progress is noted before matches are published.",
}


def planted(name: str) -> bool:
    """Whether this bug is planted.

    Raises: as `refuse_planted`.
    """
    return name in _planted()


def refuse_planted() -> None:
    """See that no bug is planted outside of tests, and none that there is not.

    Raises:
        ConfigurationError: otherwise.
    """
    _planted()


@cache
def _planted() -> frozenset[str]:
    names = frozenset(filter(None, os.environ.get(PLANTED_VARIABLE, "").split(",")))
    if names and _TESTS_VARIABLE not in os.environ:
        raise ConfigurationError(
            f"{PLANTED_VARIABLE}={','.join(sorted(names))} plants bugs, for tests alone. Unset it."
        )
    if unknown := names - PLANTED_BUGS.keys():
        raise ConfigurationError(
            f"{PLANTED_VARIABLE} names {sorted(unknown)}, which is no bug that can be planted. See runtime/planted.py."
        )
    return names
