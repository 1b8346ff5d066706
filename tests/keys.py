"""Keys that tests make, send and revoke."""

from pathlib import Path
from typing import Any

import pytest

from api.access.key_file import KeyFile
from api.access.keys import Scope, new_key
from commands.__main__ import main
from contract.settings import Settings


def add_key(file: Path, name: str, *scopes: Scope, **limits: Any) -> str:
    """Make a key as the command line does; returns it."""
    key, stored = new_key(name, scopes, **limits)
    KeyFile(file).change(lambda keys: [*keys, stored])
    return key


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def revoke(settings: Settings, *keys: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOOKALIKE_KEYS_FILE", str(settings.keys_file))
        return main(["keys", "revoke", *keys])
