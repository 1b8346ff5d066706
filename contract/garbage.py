"""When Python looks for garbage in cycles; what is in none is freed at once, whatever is set here."""

import gc

# Python's own 700 and 10 have it look through everything that lives again and again while objects come by the ten thousand, a batch
# of records for one: that was a fifth of an embedder's time, and stopped an indexer for up to 0.4 s.
THRESHOLDS = (5_000, 10, 50)


def collect_rarely() -> None:
    """Leave out of every collection what is loaded now, and collect rarely. Called once, when a program is ready to work."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
