"""Takes the pictures of the README: `python -m tests.browser.pictures [FOLDER]`, from stacks of its own that leave nothing behind.

Photographs that packages bring are searched; the training digits are published while one watches.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from contract.settings import DIGITS_ENCODER, Settings, load_settings
from lookalike_client import Client
from stack import groups
from stack.jars import ROOT
from stack.ports import free_ports, own_ports
from stack.programs import environment
from tests.browser.install import BROWSER, install
from tests.browser.photographs import album, altered, collage, jpeg, photographs
from tests.waiting import wait_for
from topics.publisher import ImagePublisher

PER_S = 400
# More digits than are published while the pictures are taken.
DIGITS = 60_000


def main() -> int:
    """Take them; returns the exit status."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "docs" / "pictures").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    install(BROWSER)
    with TemporaryDirectory() as temporary:
        servers = load_settings(**own_ports(), cassandra_heap_mib=512, var_dir=Path(temporary))
        groups.up(servers, "servers", tied=True)
        try:
            for name, encoder, take in (("photographs", "photo", _photographs), ("digits", DIGITS_ENCODER, _digits)):
                programs = _pipeline(servers, name, encoder)
                groups.up(programs, "programs", tied=True)
                try:
                    take(programs, _browser(name, programs, folder))
                finally:
                    groups.down(programs, "programs")
        finally:
            groups.down(servers, "servers")
    return 0


def _pipeline(servers: Settings, name: str, encoder: str) -> Settings:
    folder = servers.var_dir / name
    return load_settings(
        **{
            **servers.model_dump(),
            "kafka_topic": name,
            "cassandra_keyspace": name,
            "var_dir": folder,
            "index_dir": folder / "index",
            "api_port": free_ports(1)[0],
            "encoder": encoder,
        }
    )


def _photographs(settings: Settings, browse: Callable[..., None]) -> None:
    whole = photographs("skimage", "sklearn")
    images = list(album(whole))
    with ImagePublisher(settings) as publisher:
        for image_id, image in images:
            publisher.put(jpeg(image), image_id=image_id, metadata={"name": image_id.split("/")[-1]})
        publisher.flush(60)
    wait_for(lambda: Client(settings.api_address).index()["count"] == len(images) or None, timeout_s=120)
    queries = {
        "collage.jpg": collage(*(whole[name] for name in ("chelsea", "coffee", "astronaut", "china"))),
        "from a friend.jpg": altered(whole["chelsea"]),
    }
    for name, image in queries.items():
        (settings.var_dir / name).write_bytes(jpeg(image))
    browse(*(str(settings.var_dir / name) for name in queries))


def _digits(settings: Settings, browse: Callable[..., None]) -> None:
    command = [sys.executable, "-m", "producers", "mnist", "--images", str(DIGITS), "--rate", str(PER_S)]
    publishing = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment(settings)})
    try:
        browse()
    finally:
        publishing.terminate()
        publishing.wait()


def _browser(name: str, settings: Settings, folder: Path) -> Callable[..., None]:
    def browse(*files: str) -> None:
        command = ["node", str(BROWSER / "pictures.mjs"), name, settings.api_address, str(folder), json.dumps(files)]
        subprocess.run(command, check=True)

    return browse


if __name__ == "__main__":
    sys.exit(main())
