"""The spectrum of the covariances that a run's ISDA has estimated: along how many directions it augments."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from isda_bench.errors import UserError
from isda_bench.loading import load_loss
from isda_bench.losses.class_statistics import ClassStatistics
from isda_bench.losses.covariances import DiagonalCovariance
from isda_bench.losses.low_rank_covariance import LowRankCovariance


def covariance_spectrum(run: Path, allow: tuple[str, ...] = ()) -> np.ndarray:
    """Eigenvalues of each class's covariance, largest first, (C, A); (1, A) where the classes share one.

    Args:
        run: a finished run's directory, with its checkpoints.
        allow: as in `load_loss`.

    Raises:
        UserError: as `load_loss`, or the run's loss has estimated no covariance.
    """
    statistics = getattr(load_loss(run, allow), "statistics", None)
    if isinstance(statistics, DiagonalCovariance):
        values = statistics.covariance.double().sort(1).values
    elif isinstance(statistics, ClassStatistics):
        values = torch.stack([_eigenvalues(covariance) for covariance in statistics.covariance])
    elif isinstance(statistics, LowRankCovariance):
        pairs = zip(statistics.directions, statistics.variances, strict=True)
        values = torch.stack([_eigenvalues(b.T @ b + s.diag()) for b, s in pairs])
    else:
        raise UserError(f"{run}: its loss has estimated no covariance")
    return values.flip(1).clamp(min=0).numpy()  # rounding leaves some below 0


def _eigenvalues(covariance: Tensor) -> Tensor:
    return torch.linalg.eigvalsh(covariance.double())
