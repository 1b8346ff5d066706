"""The browser, driven through a Node process that runs one scenario after another."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.browser.install import BROWSER, install

Outside = dict[str, Callable[[], None]]


class Driver:
    """Owns the Node process and its browser."""

    def __init__(self) -> None:
        install(BROWSER)
        self._node = subprocess.Popen(
            ["node", str(BROWSER / "driver.mjs")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, scenario: str, address: str, *, outside: Outside | None = None, **args: Any) -> Any:
        """What the scenario returns; `outside` does what it asks of the world.

        Raises:
            AssertionError: it failed.
        """
        self._write({"scenario": scenario, "address": address, "args": args})
        while True:
            line = self._node.stdout.readline() if self._node.stdout else ""
            assert line, f"The browser's process ended with status {self._node.poll()}."
            said = json.loads(line)
            if "ask" in said:
                (outside or {})[said["ask"]]()
                self._write(None)
                continue
            assert "error" not in said, said["error"]
            return said["value"]

    def close(self) -> None:
        """End it."""
        if self._node.stdin and self._node.stdout:
            self._node.stdin.close()
            self._node.wait(20)
            self._node.stdout.close()

    def _write(self, message: object) -> None:
        assert self._node.stdin is not None
        self._node.stdin.write(json.dumps(message) + "\n")
        self._node.stdin.flush()


def picture(name: str) -> str | None:
    """Where a committed picture goes; None unless LOOKALIKE_PICTURES names a folder."""
    folder = os.environ.get("LOOKALIKE_PICTURES")
    return str(Path(folder) / name) if folder else None
