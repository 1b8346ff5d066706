"""The option `--filter` of what searches and watches."""

import json
from typing import Any

from contract.errors import LookalikeError


def parsed_filter(text: str | None) -> dict[str, Any] | None:
    """What `--filter` says, as far as only the API need understand it."""
    if text is None:
        return None
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise LookalikeError(f"--filter is not JSON: {error}. Quote it for the shell: --filter '{{…}}'") from error
    if not isinstance(parsed, dict):
        raise LookalikeError(f"--filter is {text[:80]}, expected a JSON object with must, should or must_not.")
    return parsed
