"""The `lookalike` command: the verbs of all folders in one."""
