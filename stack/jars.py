"""The servers' jars: fetched once through Maven, and checked against committed SHA-256 sums at every start."""

import fcntl
import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from contract.errors import ConfigurationError
from stack.java import find_java, find_maven

ROOT = Path(__file__).resolve().parent.parent
# Beside the code, not in the settings' var folder: the jars belong to the checkout, and stacks side by side share them.
JARS_DIR = ROOT / "var" / "jars"
SUMS_FILE = ROOT / "stack" / "jars.sha256"
SERVERS = ("kafka", "cassandra")

_COPY_GOAL = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


def jars(server: str) -> Path:
    """Folder that holds exactly the listed jars of `server`; fetches them when it does not.

    Raises:
        ConfigurationError: Maven is missing or failed, or brought other jars than those listed.
    """
    folder = JARS_DIR / server
    if not differences(folder, server):
        return folder
    find_java()
    JARS_DIR.mkdir(parents=True, exist_ok=True)
    with open(JARS_DIR / f"{server}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if differences(folder, server):
            _fetch(folder, server)
    return folder


def differences(folder: Path, server: str) -> list[str]:
    """What is missing, altered or too much in `folder`; empty when it is as listed."""
    listed = _listed(server)
    present = {path.name: path for path in folder.glob("*.jar")}
    found = [f"{name} is missing" for name in listed.keys() - present.keys()]
    found += [f"{name} is not listed" for name in present.keys() - listed.keys()]
    for name in listed.keys() & present.keys():
        with present[name].open("rb") as jar:
            if hashlib.file_digest(jar, "sha256").hexdigest() != listed[name]:
                found.append(f"{name} has another SHA-256")
    return sorted(found)


def _fetch(folder: Path, server: str) -> None:
    """Copy the jars beside `folder` and rename, so that it is never half filled."""
    print(f"Fetching {server}'s jars (once, about 50 MB) …", flush=True)
    maven = find_maven()
    fresh = Path(tempfile.mkdtemp(prefix=f".{server}-", dir=folder.parent))
    try:
        # -q hides progress; Maven's own [ERROR] line about ${jmc5.path} is harmless, so output is shown only on failure.
        done = subprocess.run(
            [
                maven, "-q", "-B", "-f", str(ROOT / "stack" / f"{server}-pom.xml"), _COPY_GOAL,
                "-DincludeScope=runtime", f"-DoutputDirectory={fresh}",
            ],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise ConfigurationError(
                f"Maven could not fetch {server}'s jars: {done.stdout[-1500:].strip()}\n"
                "Check the network (or the mirror in ~/.m2/settings.xml) and run this again."
            )
        found = differences(fresh, server)
        if found:
            raise ConfigurationError(
                f"Maven brought other jars than {SUMS_FILE.name} lists: {'; '.join(found[:5])}. Delete them from Maven's "
                "own cache (~/.m2/repository) and run this again; if it stays so, do not trust where they come from."
            )
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _listed(server: str) -> dict[str, str]:
    """SHA-256 in hex by jar name, as `sha256sum` writes and checks them."""
    sums: dict[str, str] = {}
    for line in SUMS_FILE.read_text().splitlines():
        sha256, path = line.split()
        owner, name = path.split("/")
        if owner == server:
            sums[name] = sha256
    return sums
