"""Settings: documented, checked at start, and every mistake names its variable."""

import re
import socket
from pathlib import Path

import pytest

from contract.errors import ConfigurationError
from contract.settings import PREFIX, Settings, for_digits, load_settings
from contract.telemetry import serve_metrics

EXAMPLE = (Path(__file__).parents[2] / ".env.example").read_text()


def test_example_file_lists_every_setting_with_its_default_and_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (f"{PREFIX}{name.upper()}" for name in Settings.model_fields):
        monkeypatch.delenv(variable, raising=False)
    listed = dict(re.findall(r"^(LOOKALIKE_\w+)=(.*)$", EXAMPLE, re.MULTILINE))
    assert listed == {f"{PREFIX}{name.upper()}": _written(value) for name, value in load_settings()}
    assert all(field.description and f"# {field.description}\n" in EXAMPLE for field in Settings.model_fields.values())


def _written(value: object) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def test_index_lies_in_the_folder_of_its_stack_unless_it_is_named(tmp_path: Path) -> None:
    assert load_settings(var_dir=tmp_path).index_dir == tmp_path / "index"
    assert load_settings(var_dir=tmp_path, index_dir="elsewhere").index_dir == Path("elsewhere")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LOOKALIKE_API_PORT", "0"),
        ("LOOKALIKE_KAFKA_BOOTSTRAP", "localhost"),
        ("LOOKALIKE_CASSANDRA_KEYSPACE", "Drop Table"),
        ("LOOKALIKE_REBUILD_INTERVAL_S", "-1"),
        ("LOOKALIKE_BATCH_IMAGES_MAX", "many"),
        ("LOOKALIKE_ACCEPT_TRUNCATED", "sometimes"),
    ],
)
def test_bad_value_is_refused_with_the_name_of_its_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=variable):
        load_settings()


@pytest.mark.parametrize(
    ("host", "reached"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "[::1]"), ("::", "127.0.0.1")]
)
def test_api_is_reached_where_it_listens(host: str, reached: str) -> None:
    assert load_settings(api_host=host, api_port=8123).api_address == f"http://{reached}:8123"


def test_taken_metrics_port_names_its_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"LOOKALIKE_INDEXER_METRICS_PORT={port}: Address already in use"):
            serve_metrics("127.0.0.1", port, "INDEXER_METRICS_PORT")


def test_encoder_is_for_photographs_and_for_digits_only_where_they_are_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(f"{PREFIX}ENCODER", raising=False)
    assert load_settings().encoder == "photo"
    assert for_digits(load_settings()).encoder == "contrast"
    assert for_digits(load_settings(encoder="report-autoencoder")).encoder == "report-autoencoder"
    monkeypatch.setenv(f"{PREFIX}ENCODER", "photo")
    assert for_digits(load_settings()).encoder == "photo", "it is named on purpose"
