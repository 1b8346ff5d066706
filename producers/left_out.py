"""What is left out of a folder, counted by kind: a suffix, or one of a few codes that have words."""

from collections import Counter
from collections.abc import Iterable
from pathlib import PurePath

from producers.outgoing import LeftOut

# Codes begin without a dot, suffixes with one. What one and what many are called.
WORDS = {
    "no-suffix": ("without a suffix", "without a suffix"),
    "empty": ("empty file", "empty files"),
    "vanished": ("file that vanished", "files that vanished"),
    "not-a-file": ("pipe, socket or device", "pipes, sockets or devices"),
    "broken-link": ("broken link", "broken links"),
    "link-outside": ("link to a file outside", "links to files outside"),
    "folder-link": ("link to a folder", "links to folders"),
    "folder-again": ("link to a folder that is read already", "links to folders that are read already"),
}
FOLLOWED = ("link-outside", "folder-link")
_SUFFIX_CHARACTERS_MAX = 12
_KINDS_SHOWN_MAX = 12


def kind_of(name: str) -> str:
    """Kind of a file that is no picture: its suffix in small letters, or all of a hidden file's name, such as `.DS_Store`."""
    name = PurePath(name).name
    kind = name if name.startswith(".") and "." not in name[1:] else PurePath(name).suffix.lower()
    # What follows a dot in a sentence of a name is no suffix.
    if kind in ("", ".") or len(kind) > _SUFFIX_CHARACTERS_MAX or not kind.isprintable() or " " in kind:
        return "no-suffix"
    return kind


def count_kinds(left_out: Iterable[LeftOut]) -> dict[str, int]:
    """How many there are of each kind, the most frequent first."""
    counts = Counter(each.kind for each in left_out)
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def in_words(counts: dict[str, int]) -> str:
    """Such as `3 .txt, 2 .mov, 1 .DS_Store, 1 link to a folder`; "" of nothing. Suffixes come first."""
    kinds = sorted(counts, key=lambda kind: kind in WORDS)
    shown = [f"{counts[kind]:,} {WORDS[kind][counts[kind] > 1] if kind in WORDS else kind}" for kind in kinds]
    if len(shown) > _KINDS_SHOWN_MAX and (rest := [k for k in kinds[_KINDS_SHOWN_MAX:] if k not in WORDS]):
        others = sum(counts[kind] for kind in rest)
        shown = [text for kind, text in zip(kinds, shown, strict=True) if kind not in rest]
        shown.insert(_KINDS_SHOWN_MAX, f"{others:,} of {len(rest)} other kinds")
    return ", ".join(shown)
