"""Takes the pictures of the README: `python -m tests.browser.pictures [FOLDER]`, from a system that runs (`make up`).

The training digits are published meanwhile, so that the live view of an empty system shows the index growing.
"""

import os
import subprocess
import sys
from pathlib import Path

from contract.settings import for_digits, load_settings
from stack import groups
from stack.jars import ROOT
from stack.programs import environment
from tests.browser.install import BROWSER, install

PER_S = 400


def main() -> int:
    """Take them; returns the exit status."""
    settings = for_digits(load_settings())
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "docs" / "pictures").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    install(BROWSER)
    started = [group for group in groups.wanted(settings) if groups.up(settings, group)]
    command = [sys.executable, "-m", "producers", "mnist", "--rate", str(PER_S)]
    publishing = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment(settings)})
    try:
        return subprocess.run(
            ["node", str(BROWSER / "pictures.mjs"), settings.api_address, str(folder)], check=False
        ).returncode
    finally:
        publishing.terminate()
        publishing.wait()
        for group in reversed(started):
            groups.down(settings, group)


if __name__ == "__main__":
    sys.exit(main())
