"""The figures of `GET /v1/index`, live in a terminal; one line a look where it is piped."""

from __future__ import annotations

import contextlib
import json
import sys
import time
import unicodedata
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from lookalike_client.client import Client
from lookalike_client.keys import NEXT, Keys, pressed_keys
from lookalike_client.problems import ApiError

WIDTH = 78
BAR_WIDTH = 40
_TIMEOUT_S = 2.0
_HISTORY = 60
_SPARKS = "▁▂▃▄▅▆▇█"


def watch(
    address: str,
    interval_s: float,
    looks: int | None = None,
    output: TextIO = sys.stdout,
    *,
    collection: str = "default",
    as_json: bool = False,
) -> int:
    """Look every `interval_s` seconds, `looks` times or until Ctrl-C; returns the exit status, 1 when the last look failed.

    In a terminal tab and the arrow keys go from collection to collection.

    Args:
        as_json: write the whole answer of each look as one line of JSON instead; failures then go to stderr.
    """
    is_terminal = output.isatty() and not as_json
    rates: deque[float] = deque(maxlen=_HISTORY)
    drawn = done = status = 0
    with pressed_keys() if is_terminal else contextlib.nullcontext(Keys(None)) as keys:
        while True:
            names: list[str] = []
            client = Client(address, timeout_s=_TIMEOUT_S, collection=collection)
            try:
                if is_terminal:
                    names = [each["name"] for each in client.collections() if each["state"] != "dropping"]
                index = client.index()
                rates.append(index["rates"]["out_per_s"])
                lines = [json.dumps(index)] if as_json else [line(index)]
                lines = panel(index, address, list(rates), collection, names) if is_terminal else lines
                status = 0
            except ApiError as error:
                if error.code == "unknown-collection" or error.status in (401, 403):
                    print(error.detail, file=sys.stderr)
                    return 1
                status, lines = 1, [f"{address} does not answer, trying again: {_reason(error)}"[:WIDTH]]
            said = sys.stderr if as_json and status else output
            # Up to where the last panel began, and clear what it leaves below.
            said.write((f"\x1b[{drawn}F\x1b[J" if is_terminal and drawn else "") + "\n".join(lines) + "\n")
            said.flush()
            drawn, done = len(lines), done + 1
            if looks is not None and done >= looks:
                return status
            chosen = _neighbour(names, collection, keys.wait(interval_s))
            if chosen != collection:
                collection = chosen
                rates.clear()


def _neighbour(names: list[str], collection: str, key: str) -> str:
    """The collection that a key leads to."""
    if not key or len(names) < 2:
        return collection
    place = names.index(collection) if collection in names else 0
    return names[(place + (1 if key == NEXT else -1)) % len(names)]


def panel(
    index: dict[str, Any], address: str, rates: list[float], collection: str = "default", names: Sequence[str] = ()
) -> list[str]:
    """The state as lines of at most `WIDTH` columns.

    Args:
        names: of all collections, of which `collection` is shown.
    """
    base, tail = index["base"]["count"], index["tail"]["entries"]
    filled = round(BAR_WIDTH * base / max(1, base + tail))
    rejected = ", ".join(f"{count:,} {reason}" for reason, count in index["rejected"].items()) or "none"
    away = [name for name, is_up in index["dependencies"].items() if not is_up]
    newest = index["newest"][0]["id"] if index["newest"] else "none yet"
    rows = [
        ("images", f"{index['count']:,}"),
        ("in", _per_s(index["rates"]["in_per_s"])),
        ("out", f"{_per_s(index['rates']['out_per_s']):<14}{_sparks(rates)}"),
        ("lag", _known(index["lag"], lambda lag: f"{lag:,} records")),
        ("freshness", _known(index["freshness_ms"], lambda f: f"p50 {f['p50']:,.0f} ms   p99 {f['p99']:,.0f} ms")),
        ("base, tail", f"{'█' * filled}{'░' * (BAR_WIDTH - filled)}  {base:,} + {tail:,}"),
        ("generation", f"{index['generation']:,}, published {index['age_s']:.1f} s ago"),
        ("rejected", rejected),
        ("newest", newest),
        ("away", ", ".join(away) or "nothing"),
        *((each["name"], _standing(each)) for each in index["indexes"] if len(index["indexes"]) > 1),
    ]
    head = f"lookalike   {address}"
    others = [f"collection  {collection}", _others(collection, names)] if len(names) > 1 else []
    return [_fitted(head), *map(_fitted, others), "", *(_fitted(f"{name:<12}{value}") for name, value in rows)]


def _others(collection: str, names: Sequence[str]) -> str:
    """The collections that a key leads to."""
    return f"tab         {', '.join(name for name in names if name != collection)}"


def _standing(index: dict[str, Any]) -> str:
    """How far one encoder's index has come."""
    lag = _known(index["lag"], lambda lag: f"{lag:,} records to come")
    return f" {index['count']:,} images, {lag}{', answers' if index['is_serving'] else ''}"


def line(index: dict[str, Any]) -> str:
    """The state as one line of key=value."""
    fresh = index["freshness_ms"] or {"p50": None, "p99": None}
    told = {
        "time": time.strftime("%H:%M:%S"),
        "images": index["count"],
        "in_per_s": index["rates"]["in_per_s"],
        "out_per_s": index["rates"]["out_per_s"],
        "lag": index["lag"],
        "p50_ms": fresh["p50"],
        "p99_ms": fresh["p99"],
        "base": index["base"]["count"],
        "tail": index["tail"]["entries"],
        "generation": index["generation"],
        "rejected": sum(index["rejected"].values()),
    }
    return " ".join(f"{name}={'unknown' if value is None else value}" for name, value in told.items())


def _known(value: Any, told: Callable[[Any], str]) -> str:
    return "unknown" if value is None else told(value)


def _per_s(rate: float | None) -> str:
    return _known(rate, lambda known: f"{known:,.1f}/s")


def _sparks(rates: list[float]) -> str:
    highest = max([*rates, 1.0])
    shown = rates[-BAR_WIDTH:]
    return "".join(_SPARKS[round((len(_SPARKS) - 1) * rate / highest)] for rate in shown)


def _reason(error: ApiError) -> str:
    return f"status {error.status}" if error.status else str(error.__cause__)


def _fitted(text: str) -> str:
    """`text` within `WIDTH`, without what could steer a terminal."""
    safe = "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c)[0] == "C" else c for c in text)
    return safe if len(safe) <= WIDTH else safe[: WIDTH - 1] + "…"
