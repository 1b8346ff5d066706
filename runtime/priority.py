"""Who goes first where processes want more of the processor than there is."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Literal

from contract.settings import Settings

# What gives way gets a third of the weight of what does not, so neither starves: each of five levels is a quarter less.
GIVES_WAY = 5
# Of work that can wait.
BACKGROUND = 10
_SESSION = Path("/proc/self/autogroup")


def give_way_unless_first(settings: Settings, part: Literal["searches", "images"]) -> None:
    """Give way if the settings say that another part than this process's comes first."""
    if settings.first not in ("fair", part):
        give_way(GIVES_WAY)


def give_way(levels: int) -> None:
    """Let other processes go first, from now on, by so many levels of niceness. Called before other threads start.

    Where Linux shares the processor out among sessions first (`autogroup`), niceness counts within a session alone. So a
    process that leads a session, as each that `stack` starts does, has its whole session give way.
    """
    niceness = os.nice(levels)
    if os.getsid(0) == os.getpid():
        with suppress(OSError):  # there is no such thing, or it may not be written
            _SESSION.write_text(str(niceness))
