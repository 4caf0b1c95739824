"""The spectrum of the covariances that a run's ISDA has estimated: along how many directions it augments."""

from pathlib import Path

import numpy as np

from isda_bench.errors import UserError
from isda_bench.loading import load_loss
from isda_bench.losses.class_statistics import OnlineStatistics


def covariance_spectrum(run: Path, allow: tuple[str, ...] = ()) -> np.ndarray:
    """Eigenvalues of each class's covariance, largest first, (C, A); (1, A) where the classes share one.

    Args:
        run: a finished run's directory, with its checkpoints.
        allow: as in `load_loss`.

    Raises:
        UserError: as `load_loss`, or the run's loss has estimated no covariance.
    """
    statistics = getattr(load_loss(run, allow), "statistics", None)
    if not isinstance(statistics, OnlineStatistics):
        raise UserError(f"{run}: its loss has estimated no covariance")
    return statistics.spectrum().clamp(min=0).numpy()  # rounding makes some of them negative
