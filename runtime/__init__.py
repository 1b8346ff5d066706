"""What every program of ours does alike: its memory, its progress, and places where tests may end it."""
