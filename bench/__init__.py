"""Measurements of the running road. They start nothing and decide nothing."""
