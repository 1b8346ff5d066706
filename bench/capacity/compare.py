"""The simulated pipeline beside the measured one, with one, two and three embedders; calibrated with one."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bench.capacity.calibration import Part, calibrated, parts_of, simulated_ms
from bench.capacity.road import Costs


def compare(scaling: Mapping[str, Any]) -> dict[str, Any]:
    """Predicted and measured figures: a row for each number of embedders and each rate, medians over the rounds.

    Each round is predicted with the cores that it had; costs are those of the rounds with one embedder.
    """
    parts, partitions = parts_of(scaling), scaling["partitions"]
    costs = calibrated(parts, partitions)
    rows: list[dict[str, Any]] = []
    for key in sorted({(part.rate or 0.0, part.embedders) for part in parts}):
        same = [part for part in parts if ((part.rate or 0.0), part.embedders) == key]
        what = "images/s" if key[0] == 0 else "fresh p50 ms"
        measured = float(np.median([_measured(part) for part in same]))
        foretold = float(np.median([_predicted(part, costs, partitions) for part in same]))
        rows.append(
            {
                "method": f"{key[1]} embedder{'s' * (key[1] > 1)}, {f'{key[0]:g} images/s' if key[0] else 'full speed'}",
                "embedders": key[1],
                "rate_per_s": key[0] or None,
                "what": what,
                "cores": round(float(np.median([part.cores for part in same])), 2),
                "measured": round(measured, 1),
                "predicted": round(foretold, 1),
                "off": round(foretold / measured - 1, 3),
                "is_calibration": key[1] == 1,
            }
        )
    return {
        "costs_us": {
            name: {"time": round(cost.time_s * 1e6, 1), "image": round(cost.image_s * 1e6, 1)}
            for name, cost in costs.__dict__.items()
            if hasattr(cost, "time_s")
        }
        | {"batch_wait": round(costs.batch_wait_s * 1e6, 1), "image_wait": round(costs.image_wait_s * 1e6, 1)},
        "rows": rows,
        "farthest_off": max(abs(row["off"]) for row in rows if not row["is_calibration"]),
    }


def _measured(part: Part) -> float:
    return float(part.figures["searchable_per_s"] if part.rate is None else part.figures["p50_ms"])


def _predicted(part: Part, costs: Costs, partitions: int) -> float:
    ms = simulated_ms(part, costs, partitions)
    return 1000 * part.images / ms if part.rate is None else ms
