"""Duplicates: which images of a generation are the same, copies of one another, or near, found by comparing each with all."""
