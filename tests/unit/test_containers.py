"""Dockerfile and docker-compose.yml pass their checkers, and a few checks that no checker makes. Nothing here runs them."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from contract.settings import PREFIX, Settings
from tests.checkers.install import checkers  # noqa: F401  # the fixture

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
TOOLS = Path(sys.executable).parent
PROGRAMS = {"topics", "embedder", "indexer", "watcher", "audit", "keys", "api", "embedder-next", "indexer-next"}
DURATION = re.compile(r"(\d+(\.\d+)?(us|ms|s|m|h))+")


def faults(compose: dict[str, Any]) -> list[str]:
    """What Compose would stumble over and the checkers let through."""
    services, volumes, found = compose["services"], compose.get("volumes") or {}, []
    for name, service in services.items():
        found += [f"{name} depends on {other}" for other in service.get("depends_on", {}) if other not in services]
        for volume in service.get("volumes", []):
            if volume.split(":")[0] not in volumes:
                found.append(f"{name} uses the volume {volume}")
        for port in service.get("ports", []):
            parts = port.split(":")
            if (
                len(parts) != 3
                or parts[0] != "127.0.0.1"
                or not all(p.isdecimal() and 0 < int(p) < 65536 for p in parts[1:])
            ):
                found.append(f"{name} publishes {port}")
        health = service.get("healthcheck", {})
        durations = [health.get(key) for key in ("interval", "timeout", "start_period")]
        durations.append(service.get("stop_grace_period"))
        found += [
            f"{name} waits {text}" for text in durations if text is not None and not DURATION.fullmatch(str(text))
        ]
        for key in service.get("environment", {}):
            if key.startswith(PREFIX) and key.removeprefix(PREFIX).lower() not in Settings.model_fields:
                found.append(f"{name} sets {key}")
        for other, needed in service.get("depends_on", {}).items():
            if needed["condition"] == "service_healthy" and "healthcheck" not in services.get(other, {}):
                found.append(f"{name} waits for the health of {other}")
    return found


@pytest.fixture
def compose() -> Any:
    return yaml.safe_load(COMPOSE.read_text())


def test_nothing_that_the_checkers_miss_is_wrong(compose: Any) -> None:
    assert faults(compose) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("      topics:\n        condition", "      topisc:\n        condition", "embedder depends on topisc"),
        ("- index:/var/lib/lookalike/index\n", "- indexes:/var/lib/lookalike/index\n", "indexer uses the volume"),
        ("interval: 5s", "interval: 5 seconds", "kafka waits 5 seconds"),
        ("127.0.0.1:8000:8000", "127.0.0.1:80000:8000", "api publishes"),
        ("127.0.0.1:9042:9042", "9042:9042", "cassandra publishes"),
        ("LOOKALIKE_API_HOST", "LOOKALIKE_APIHOST", "api sets LOOKALIKE_APIHOST"),
    ],
)
def test_check_notices(old: str, new: str, fault: str) -> None:
    text = COMPOSE.read_text()
    assert old in text
    assert any(found.startswith(fault) for found in faults(yaml.safe_load(text.replace(old, new, 1))))


def test_our_programs_run_with_as_little_as_they_need(compose: Any) -> None:
    for name in PROGRAMS:
        service = compose["services"][name]
        assert (service["user"], service["read_only"], service["cap_drop"]) == ("10001:10001", True, ["ALL"])
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "healthcheck" in service or service["restart"] == "on-failure"
    assert set(compose["services"]) == PROGRAMS | {"kafka", "cassandra"}
    for name, service in compose["services"].items():
        assert "mem_limit" in service, name
        assert "container_name" not in service, f"{name} could not be scaled"


def test_next_encoder_runs_only_when_asked_for_and_like_the_first_one_otherwise(compose: Any) -> None:
    services = compose["services"]
    for name in ("embedder", "indexer"):
        first, following = services[name], services[f"{name}-next"]
        assert following.pop("profiles") == ["next"]
        assert following["environment"].pop("LOOKALIKE_ENCODER") == "${LOOKALIKE_NEXT_ENCODER:-}"
        assert following["environment"].pop("LOOKALIKE_COLLECTIONS") == "default"
        assert first["environment"].pop("LOOKALIKE_ENCODER") == "${LOOKALIKE_ENCODER:-}"
        assert following == first


def test_image_holds_the_programs_and_no_tensorflow() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    programs = {"contract", "model", "producers", "workers", "gallery", "api", "clients/python/lookalike_client"}
    assert programs | {"requirements.lock"} <= allowed
    assert {"tests", "stack", "bench", "var", ".git", ".env"}.isdisjoint(allowed)
    assert "tensorflow" not in (ROOT / "requirements.lock").read_text()


def test_dockerfile_passes_hadolint() -> None:
    done = subprocess.run([TOOLS / "hadolint", ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_compose_file_fits_the_compose_specification() -> None:
    done = subprocess.run(
        [TOOLS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(600)  # The first run installs the checker.
def test_compose_file_passes_dclint(checkers: Path) -> None:  # noqa: F811
    # Services stand in the order of the pipeline, and keys in the order in which one reads them.
    order = ("service-keys-order", "services-alphabetical-order", "top-level-properties-order")
    disabled = [argument for rule in order for argument in ("--disable-rule", rule)]
    done = subprocess.run(
        ["node", "node_modules/dclint/bin/dclint.cjs", COMPOSE, "--max-warnings", "0", *disabled],
        cwd=checkers,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
