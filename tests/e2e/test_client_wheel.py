"""The client's wheel in an environment of its own, doing what its README shows against a running settings."""

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.settings import Settings
from stack import groups
from tests.api_gallery import digit
from tests.conftest import fresh_settings

CLIENT = Path(__file__).parents[2] / "clients" / "python"
ADDRESS = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def address(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("wheel")
    settings = fresh_settings(
        stack, folder, var_dir=folder / "var", cassandra_keyspace=f"{stack.cassandra_keyspace}_wheel"
    )
    groups.up(settings, "programs", tied=True)
    yield settings.api_address
    groups.down(settings, "programs")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    uv("build", "--wheel", "--out-dir", str(folder), str(CLIENT))
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel and nothing else."""
    environment = tmp_path_factory.mktemp("environment") / "venv"
    uv("venv", "--python", sys.executable, str(environment))
    uv("pip", "install", "--no-index", "--python", str(environment), str(wheel))
    return environment / "bin" / "python"


def uv(*arguments: str) -> str:
    command = [str(Path(sys.executable).parent / "uv"), *arguments, "--offline"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_is_typed_and_needs_nothing(wheel: Path, python: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(next(name for name in names if name.endswith("/METADATA"))).decode()
    assert "lookalike_client/py.typed" in names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"lookalike_client"}
    assert "Requires-Python: >=3.9" in metadata
    assert "Requires-Dist" not in metadata
    installed = json.loads(uv("pip", "list", "--format", "json", "--python", str(python)))
    assert [one["name"] for one in installed] == ["lookalike-client"]


def test_the_example_of_the_readme_runs(address: str, python: Path, tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (CLIENT / "README.md").read_text(), re.DOTALL)
    assert ADDRESS in example
    (tmp_path / "digit.png").write_bytes(digit(7))
    # Isolated: what lies beside it or is named in the environment is not found.
    done = subprocess.run(
        [python, "-I", "-c", example.replace(ADDRESS, address)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "my/digit 0.0 {'label': 7}",
        "exact over 1 images",
        "nearest: my/digit",
        "refused: unknown-image",
        "415 unsupported-type",
    ]
