"""Judges a history that a soak left behind: `python -m tests.history FOLDER`. Exit status 1 where a rule was broken."""

import argparse
import sys
from pathlib import Path

import msgspec

from tests.history.held import HELD_FILE, Held
from tests.history.journal import JOURNAL_FILE, read_journal, run_of
from tests.history.judge import judge
from tests.history.load import Embedder


def main() -> int:
    """Judge; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.history", description=(__doc__ or "").partition(":")[0] + "."
    )
    parser.add_argument("folder", type=Path, help=f"holds {JOURNAL_FILE} and {HELD_FILE}")
    folder: Path = parser.parse_args().folder
    events = read_journal(folder / JOURNAL_FILE)
    held = msgspec.json.decode((folder / HELD_FILE).read_bytes(), type=Held)
    judgement = judge(events, held, Embedder(run_of(events).encoder))
    print(judgement)
    for finding in judgement.findings:
        print(f"  {finding}")
    return 1 if judgement.findings else 0


if __name__ == "__main__":
    sys.exit(main())
