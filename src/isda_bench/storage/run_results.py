"""A run's results, from the metrics of its epochs."""

import math
import re
from typing import Any

from isda_bench.config.building import LARGEST
from isda_bench.errors import UserError

LAST_EPOCHS = 10  # over which the paper averages the test error
Metrics = dict[str, Any]
"""Of an epoch: name -> value."""
SINGLE = re.compile(r"epoch|seconds|learning_rate|[a-z]+_per_second|[a-z]+_(loss|error|top5_error|ece)")
"""Keys of an epoch's metrics that are one number, which tables and figures rely on."""


def is_metric(name: str, value: Any) -> bool:
    """Whether it is a number; of a measure of the classes a list of numbers, null where a class has none."""
    if not name.isprintable():
        return False
    if isinstance(value, list) and not SINGLE.fullmatch(name):
        return all(item is None or is_number(item) for item in value)
    return is_number(value)


def is_number(value: Any) -> bool:
    """Whether it is a finite float, or an integer of at most 64 bits; True is none."""
    return (type(value) is float and math.isfinite(value)) or (type(value) is int and abs(value) < LARGEST)


def errors_of(metrics: list[Metrics], split: str) -> dict[str, float]:
    """The run's errors in percent: mean over the last ten epochs (the paper's), of the last one, the best.

    Raises:
        UserError: none of these epochs has an error: the checkpoint that the run resumed from lacked them.
    """
    values = {row["epoch"]: row[f"{split}_error"] for row in metrics if f"{split}_error" in row}
    last = [value for epoch, value in values.items() if epoch > len(metrics) - LAST_EPOCHS]
    if not last:
        raise UserError(
            f"the newest checkpoint lacks the {split} errors of its epochs; rerun=true trains again"
        )
    return {"last_10": sum(last) / len(last), "final": last[-1], "best": min(values.values())}


def means_of(metrics: list[Metrics], split: str) -> dict[str, float]:
    """Name -> mean over the last ten epochs of each metric of the evaluation that is one number."""
    values: dict[str, list[float]] = {}
    for row in metrics[-LAST_EPOCHS:]:
        for key, value in row.items():
            if key.startswith(f"{split}_") and not isinstance(value, list):
                values.setdefault(key.removeprefix(f"{split}_"), []).append(value)
    return {name: sum(found) / len(found) for name, found in values.items()}
