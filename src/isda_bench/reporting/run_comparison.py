"""Two trainings of one configuration, epoch by epoch."""

from typing import Any, NamedTuple

import pandas as pd

from isda_bench.config.run_config import flat
from isda_bench.runtime.terminal import printable

CLOCKS = ["seconds", "images_per_second"]
"""Metrics that no two trainings share."""
CIRCUMSTANCES = (
    *("device.type", "device.name", "device.threads", "processes", "execution"),
    *("git.commit", "git.dirty", "data_sha256", "train_images", "generator.sha256"),
)
"""Keys of a record, beside the versions, that can explain a difference."""


class Difference(NamedTuple):
    """Where one metric of two trainings differs most.

    Attributes:
        metric: its name.
        epoch: of the largest difference.
        first: the value of the first training there; NaN: it has none.
        second: of the other one.
        since: the first epoch in which the two differ.
    """

    metric: str
    epoch: int
    first: float
    second: float
    since: int

    @property
    def size(self) -> float:
        """The absolute difference; infinite where one has no value."""
        size = abs(self.first - self.second)
        return size if size == size else float("inf")


def metric_differences(first: pd.DataFrame, second: pd.DataFrame) -> list[Difference]:
    """For each metric that is not the same to the bit in every epoch its largest difference, largest first.

    Args:
        first: a row an epoch, as `read_metrics` gives it.
        second: of the other training.
    """
    one, other = (
        metrics.set_index("epoch").drop(columns=CLOCKS, errors="ignore") for metrics in (first, second)
    )
    epochs = one.index.union(other.index)
    found = []
    for metric in one.columns.union(other.columns, sort=False):
        left, right = (_values(m.get(metric, pd.Series(dtype=float)).reindex(epochs)) for m in (one, other))
        left, right = left.align(right, join="outer", axis=1)
        differs = (left != right) & ~(left.isna() & right.isna())
        if differs.to_numpy().any():
            size = (left - right).abs().fillna(float("inf")).where(differs).max(axis=1).dropna()
            at, since = int(size.idxmax()), int(size.index[0])
            place = (left.loc[at] - right.loc[at]).abs().fillna(float("inf")).where(differs.loc[at]).idxmax()
            found.append(Difference(metric, at, float(left[place][at]), float(right[place][at]), since))
    return sorted(found, key=lambda difference: -difference.size)


def _values(metric: pd.Series) -> pd.DataFrame:
    """A row an epoch, one column, or one for each class of a metric that is a list."""
    rows = [value if isinstance(value, list) else [value] for value in metric]
    return pd.DataFrame(rows, index=metric.index).astype(float)


def circumstances(first: dict[str, Any], second: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Possible reasons of a difference: name -> both values, of the keys in which two records differ."""
    one, other = flat(first), flat(second)
    versions = [key for key in dict.fromkeys([*one, *other]) if key.startswith("versions.")]
    alone = {"processes": 1}
    pairs = {
        key: (one.get(key, alone.get(key)), other.get(key, alone.get(key)))
        for key in (*versions, *CIRCUMSTANCES)
    }
    return {key.removeprefix("versions."): pair for key, pair in pairs.items() if pair[0] != pair[1]}


def comparison_text(
    differences: list[Difference], differing: dict[str, tuple[Any, Any]], epochs: int, metrics: int
) -> str:
    """The comparison for a terminal: one sentence, and a table of what is not the same.

    Args:
        differences: of metrics.
        differing: of the circumstances.
        epochs: of the recorded run.
        metrics: that each epoch has.
    """
    if differences:
        since = min(difference.since for difference in differences)
        sentence = f"not identical: {len(differences)} of {metrics} metrics differ, from epoch {since} on"
    else:
        sentence = f"identical to the bit: {metrics} metrics in {epochs} epochs"
    rows = [["", "recorded", "here", "difference"]]
    rows += [
        [f"{d.metric}, epoch {d.epoch}", f"{d.first:.10g}", f"{d.second:.10g}", f"{d.size:.2g}"]
        for d in differences
    ]
    rows += [[key, _shown(one), _shown(other), ""] for key, (one, other) in differing.items()]
    if len(rows) == 1:
        return sentence
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([sentence, "", *lines])


def _shown(value: Any) -> str:
    return "unknown" if value is None else str(value)
