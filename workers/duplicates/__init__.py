"""Looks for duplicates in all that a generation holds, as a process of its own."""
