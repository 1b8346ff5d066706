"""Alerts and dashboard ask for metrics and labels that exist, and every alert leads to a row of docs/operations.md."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import yaml
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

from contract import telemetry

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "lookalike.json").read_text())
RULES = [rule for group in yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
# What Prometheus adds by itself, and the `pid` of API processes that share a port.
ADDED_LABELS = {"job", "instance", "pid"}
# Units of Grafana by how a metric's name ends, and for what is counted in a second.
UNITS = {"_seconds": "s", "_bytes": "bytes"}
RATES = {"cps", "reqps"}
MISSING_PROMTOOL = shutil.which("promtool") is None


def labels_by_series() -> dict[str, set[str]]:
    """Labels of every series that a program may have, by its name."""
    found: dict[str, set[str]] = {"up": set(), "ALERTS": {"alertname", "alertstate"}}
    for metric in vars(telemetry).values():
        if isinstance(metric, MetricWrapperBase):
            labels, family = set(metric._labelnames), next(iter(metric.describe()))
            for end in {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(family.type, [""]):
                found[family.name + end] = labels | ({"le"} if end == "_bucket" else set())
    for family in REGISTRY.collect():
        if family.name.startswith("process_"):
            found |= {sample.name: set(sample.labels) for sample in family.samples}
    return found


SERIES = labels_by_series()


def parts_of(expression: Any) -> list[Any]:
    """An expression and all in it."""
    inner = [getattr(expression, name, None) for name in ("lhs", "rhs", "expr", "vector_selector", "param")]
    inner += getattr(expression, "args", None) or []
    return [expression, *(part for each in inner if isinstance(each, promql.Expr) for part in parts_of(each))]


def parsed(expression: str) -> list[Any]:
    """Of PromQL, with what Grafana puts in replaced."""
    return parts_of(promql.parse(expression.replace("$__rate_interval", "5m").replace("$collection", ".*")))


def faults_of(expression: str) -> list[str]:
    """What an expression asks for that does not exist."""
    parts, found = parsed(expression), []
    selectors = [part for part in parts if isinstance(part, promql.VectorSelector)]
    known = set(ADDED_LABELS)
    for selector in selectors:
        name = str(selector.name)
        if name not in SERIES:
            found.append(f"no metric {name}")
            continue
        known |= SERIES[name]
        asked = {matcher.name for matcher in selector.matchers.matchers}
        found += [f"{name} has no label {label}" for label in asked - SERIES[name] - ADDED_LABELS]
    for part in parts:
        if isinstance(part, promql.AggregateExpr) and part.modifier:
            found += [f"no label {name} to group by" for name in set(part.modifier.labels) - known]
    return found if selectors else [*found, "no metric at all"]


def rows(section: str) -> list[str]:
    """The first cells of the tables in a section of docs/operations.md, by its anchor."""
    text = (ROOT / "docs" / "operations.md").read_text()
    parts = re.split(r"^#{2,3} (.*)$", text, flags=re.MULTILINE)
    headings = {heading.lower().replace(" ", "-"): body for heading, body in zip(parts[1::2], parts[2::2], strict=True)}
    return [line.strip("|").split(" | ")[0].strip() for line in headings[section].splitlines() if line.startswith("|")]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_alert_asks_for_what_exists_and_names_the_row_that_helps(rule: dict[str, Any]) -> None:
    assert faults_of(rule["expr"]) == []
    told = rule["annotations"]
    page, _, section = told["runbook"].partition("#")
    assert page == "docs/operations.md"
    assert len([row for row in rows(section) if row.startswith(told["row"])]) == 1
    assert rule["labels"]["severity"] in ("critical", "warning")
    labels = {label for part in parsed(rule["expr"]) for label in labels_left(part)}
    assert set(re.findall(r"\$labels\.(\w+)", told["summary"])) <= labels


def labels_left(part: Any) -> set[str]:
    """Labels that a selector or a sum may leave for the text of an alert."""
    if isinstance(part, promql.AggregateExpr):
        return set(part.modifier.labels) if part.modifier else set()
    return SERIES[str(part.name)] | ADDED_LABELS if isinstance(part, promql.VectorSelector) else set()


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: str(panel["title"]))
def test_panel_asks_for_what_exists_in_its_unit(panel: dict[str, Any]) -> None:
    unit = panel["fieldConfig"]["defaults"]["unit"]
    for target in panel["targets"]:
        assert faults_of(target["expr"]) == []
        parts = parsed(target["expr"])
        names = {str(part.name) for part in parts if isinstance(part, promql.VectorSelector)}
        functions = {part.func.name for part in parts if isinstance(part, promql.Call)}
        is_ratio_of_sums = any(name.endswith("_sum") for name in names)
        if "rate" in functions and not is_ratio_of_sums and "histogram_quantile" not in functions:
            assert unit in RATES
        else:
            ends = {re.sub(r"_(sum|count|bucket)$", "", name) for name in names}
            wanted = {UNITS[end] for name in ends for end in UNITS if name.endswith(end)} or {"short"}
            assert {unit} == wanted
        assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= {
            label for p in parts for label in labels_left(p)
        }


def test_dashboard_is_laid_out_without_overlaps() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = [
        (x, y)
        for panel in panels
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(taken)) == len(taken) and max(x for x, _ in taken) < 24
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    assert set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD))) - {"__all", "__rate_interval"} == variables


def test_what_does_not_exist_is_noticed() -> None:
    assert faults_of("sum by (reason) (rate(lookalike_images_rejected_total[5m]))") == []
    assert faults_of("lookalike_nothing > 0") == ["no metric lookalike_nothing"]
    assert faults_of("lookalike_images_rejected > 0") == ["no metric lookalike_images_rejected"]
    assert faults_of('lookalike_ready{part="x"}') == ["lookalike_ready has no label part"]
    assert faults_of("max by (reason) (lookalike_ready)") == ["no label reason to group by"]
    assert faults_of("vector(1)") == ["no metric at all"]
    with pytest.raises(ValueError):
        faults_of("lookalike_ready ==")


@pytest.mark.skipif(MISSING_PROMTOOL, reason="promtool is not installed: it comes with Debian's package prometheus")
@pytest.mark.parametrize("words", ["check config prometheus.yml", "test rules alerts_test.yml"])
def test_promtool_accepts(words: str) -> None:
    done = subprocess.run(["promtool", *words.split()], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_series_that_promtool_is_given_exist() -> None:
    """So that renaming a metric breaks this test where there is no promtool."""
    tests = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())["tests"]
    assert [fault for test in tests for given in test["input_series"] for fault in faults_of(given["series"])] == []
    told = [each for test in tests for each in test["alert_rule_test"]]
    rules = {rule["alert"]: rule for rule in RULES}
    assert {each["alertname"] for each in told} <= rules.keys()
    assert all(
        expected["exp_annotations"]["row"] == rules[each["alertname"]]["annotations"]["row"]
        for each in told
        for expected in each["exp_alerts"]
    )
