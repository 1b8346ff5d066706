"""Measurements of a running stack, or of one started for them; of searches and verdicts by themselves; and whether goals are met."""
