"""Which version of lookalike this is; pyproject.toml says the same."""

VERSION = "0.3.0.dev0"
