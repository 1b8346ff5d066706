"""Verdicts on digits and other drawings: every edit is tried, and the one that leaves least is told."""
