"""A run's measures beside its error, over the same epochs: test loss, calibration, top-5 error."""

from functools import lru_cache
from pathlib import Path

from isda_bench.storage.record_files import METRICS
from isda_bench.storage.records import read_metrics
from isda_bench.storage.run_results import LAST_EPOCHS

MEASURES = ("loss", "ece", "top5_error")
"""Names in metrics.jsonl after the split: mean cross-entropy of the plain logits (negative log-likelihood),
expected calibration error in percent, top-5 error in percent."""


def measures(runs: dict[int, Path], split: str, protocol: str) -> dict[str, dict[int, float]]:
    """Name -> seed -> value, of the runs whose metrics have it.

    Args:
        runs: seed -> directory of a finished run.
        split: 'test' or 'validation'.
        protocol: as of the error: 'last_10', 'final', or 'best' (the epoch of the lowest error).

    Raises:
        UserError: a run's metrics are damaged.
    """
    found: dict[str, dict[int, float]] = {}
    for seed, directory in sorted(runs.items()):
        path = directory / METRICS
        if path.exists():
            for name, value in _of_run(directory, path.stat().st_mtime_ns, split, protocol).items():
                found.setdefault(name, {})[seed] = value
    return found


@lru_cache(maxsize=4096)  # several tables have the same run
def _of_run(directory: Path, _modified: int, split: str, protocol: str) -> dict[str, float]:
    metrics = read_metrics(directory)
    error = f"{split}_error"
    columns = {name: f"{split}_{name}" for name in MEASURES if f"{split}_{name}" in metrics}
    if not columns or error not in metrics:
        return {}
    evaluated = metrics.dropna(subset=[error])
    counted = {
        "last_10": evaluated[evaluated["epoch"] > metrics["epoch"].max() - LAST_EPOCHS],
        "final": evaluated.tail(1),
        "best": evaluated.nsmallest(1, error),
    }[protocol]
    means = {name: float(counted[column].mean()) for name, column in columns.items()}
    return {name: mean for name, mean in means.items() if mean == mean}  # no epoch has it: NaN
