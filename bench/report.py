"""The results as markdown, to paste into docs/benchmarks.md: machine, goals, and one table a measurement."""

from typing import Any

from bench.goals import Outcome, Results, outcomes

COLUMNS = {
    "search": ("method", "p50_ms", "p99_ms", "recall_at_10", "effort", "build_s", "build_threads", "bytes_per_vector"),
    "tail": ("method", "p50_ms", "p99_ms", "same_ids_in_order"),
    "rebuild": ("method", "p50_ms", "p99_ms", "same_ids_in_order"),
    "history": ("replaced_share", "method", "p50_ms", "p99_ms", "ratio_p50", "first_ms", "same_ids_in_order"),
    "systems": (
        "method", "mode", "inserted_per_s", "inserted_and_settled_per_s", "insert_to_found_p50_ms", "insert_to_found_p99_ms",
        "p50_ms", "p99_ms", "recall_at_10",
    ),
    "filters": (
        "method", "matched", "p50_ms", "p99_ms", "times_unfiltered", "recall_at_10", "same_ids_in_order",
    ),
    "road": ("method", "images_per_s", "worst_images_per_s", "stages_us_per_image"),
    "freshness": (
        "method", "p50_ms", "p99_ms", "max_ms", "sent_per_s", "rate_was_reached", "searchable_per_s", "kept_up", "searches",
    ),
    "simulate": ("method", "what", "cores", "measured", "predicted", "off", "is_calibration"),
    "audit": ("method", "records", "records_per_s", "cores", "resident_mb"),
    "photos": ("method", "searches", "per_s", "p50_ms", "p99_ms", "max_ms"),
    "http": ("method", "searches", "per_s", "p50_ms", "p99_ms", "max_ms"),
}  # fmt: skip
_HEAD = {"name", "command", "measured_at", "machine", "versions", "rows"}


def markdown(results: Results) -> str:
    """Everything that there is, goals first."""
    parts = ["## Goals\n\n" + goals_table(outcomes(results))]
    for name, figures in results.items():
        parts.append(f"## {name}\n\n{_origin(figures)}\n\n{_facts(figures)}\n\n{_rows(name, figures)}".rstrip())
    return "\n\n".join(parts) + "\n"


def goals_table(found: list[Outcome]) -> str:
    """Goal → figure → met or missed."""
    lines = ["| goal | wanted | figure | |", "|---|---|---|---|"]
    for (what, limit, unit, is_most, _), figure, is_met in found:
        shown = "–" if figure is None else f"{figure:.3g}{unit}" if figure < 1000 else f"{figure:.0f}{unit}"
        said = {None: "not measured", True: "met", False: "**missed**"}[is_met]
        lines.append(f"| {what} | {'≤' if is_most else '≥'} {limit:g}{unit} | {shown} | {said} |")
    return "\n".join(lines)


def _origin(figures: dict[str, Any]) -> str:
    machine = figures["machine"]
    present = ", ".join(f"{name} {version}" for name, version in figures["versions"].items() if version != "absent")
    return (
        f"`{figures['command']}`, {figures['measured_at']}, {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memory_gb']} GB, Python {machine['python']}, load {machine['load_average_1_min']} when it began; {present}."
    )


def _facts(figures: dict[str, Any]) -> str:
    facts = {name: value for name, value in figures.items() if name not in _HEAD}
    return "\n".join(["| figure | |", "|---|---|", *(f"| {name} | {_shown(value)} |" for name, value in facts.items())])


def _rows(name: str, figures: dict[str, Any]) -> str:
    rows = figures.get("rows", [])
    columns = COLUMNS.get(name.partition("-")[0])
    if not rows or columns is None:
        return ""
    lines = [f"| {' | '.join(column.replace('_', ' ') for column in columns)} |", "|---" * len(columns) + "|"]
    for row in rows:
        if "unavailable" in row:
            lines.append(f"| {row['method']} | unavailable: {row['unavailable']}" + " | " * (len(columns) - 1) + "|")
        else:
            lines.append(f"| {' | '.join(_shown(row.get(column, '')) for column in columns)} |")
    return "\n".join(lines)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(found)}" for name, found in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int | float) else "–" if value is None else str(value)
