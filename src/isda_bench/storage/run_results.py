"""A run's results, from the metrics of its epochs."""

from typing import Any

from isda_bench.errors import UserError

LAST_EPOCHS = 10  # over which the paper averages the test error
Metrics = dict[str, Any]
"""Of an epoch: name -> value."""


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
