"""The low-rank covariance beside the full one."""

from typing import Any

import torch

from isda_bench.benchmarks.losses import head_pass
from isda_bench.benchmarks.timing import medians
from isda_bench.losses import ISDA
from isda_bench.losses.class_statistics import ClassStatistics
from isda_bench.losses.low_rank_covariance import LowRankCovariance


def low_rank_rows(device: torch.device, repeats: int = 9) -> list[dict[str, Any]]:
    """The low-rank covariance: its error beside the full one's on CIFAR-sized features, its cost, its memory.

    The features' spread falls by a factor e every 8 directions. At ImageNet's size the full one does not fit.

    Returns:
        Rows of num_classes, feature_dim, rank, error and bound (spectral norm, mean over classes, in parts of
        the full covariance's), error_of_diagonal, state_mib, full_mib, and milliseconds of a pass of both.
    """
    torch.manual_seed(0)
    cifar = [(10, 64, 128, rank) for rank in (4, 8, 16, 32)] + [(100, 640, 128, 16)]
    rows = [_row(*size, device, repeats, compare=True) for size in cifar]
    return [*rows, _row(1000, 2048, 256, 16, device, repeats, compare=False)]


def _row(
    num_classes: int, feature_dim: int, n: int, rank: int, device: torch.device, repeats: int, compare: bool
) -> dict[str, Any]:
    spread = torch.exp(-torch.arange(feature_dim, device=device) / 8)
    rotation = torch.linalg.qr(torch.randn(feature_dim, feature_dim, device=device))[0]
    low = ISDA(num_classes, feature_dim, covariance="lowrank", rank=rank).to(device)
    full = ISDA(num_classes, feature_dim).to(device) if compare else None
    errors: dict[str, float | None] = dict.fromkeys(("error", "bound", "error_of_diagonal"))
    for _ in range(20 * num_classes * repeats // n if compare else 1):
        targets = torch.randint(num_classes, (n,), device=device)
        features = (torch.randn(n, feature_dim, device=device) * spread) @ rotation
        for loss in (low, full) if full else (low,):
            loss.statistics.update(features, targets)
    losses = {"lowrank": low} | ({"full": full} if full else {})
    if full:
        errors = _errors(low.statistics, full.statistics)
    seconds = medians(
        {name: head_pass(loss, features, targets) for name, loss in losses.items()}, repeats, warmup=2
    )
    return {
        "num_classes": num_classes,
        "feature_dim": feature_dim,
        "batch_size": n,
        "rank": rank,
        **errors,
        "state_mib": sum(b.nbytes for b in low.statistics.buffers()) / 2**20,
        "full_mib": 4 * num_classes * feature_dim**2 / 2**20,
        "lowrank_ms": 1000 * seconds["lowrank"],
        "full_ms": 1000 * seconds["full"] if full else None,
    }


def _errors(low: LowRankCovariance, full: ClassStatistics) -> dict[str, float | None]:
    wanted = full.covariance
    size = _norm(wanted)
    diagonal = torch.diag_embed(wanted.diagonal(dim1=1, dim2=2))
    got = low.directions.mT @ low.directions + torch.diag_embed(low.variances)
    return {
        "error": float((_norm(got - wanted) / size).mean()),
        "bound": float((low.bound / size).mean()),
        "error_of_diagonal": float((_norm(diagonal - wanted) / size).mean()),
    }


def _norm(matrices: torch.Tensor) -> torch.Tensor:
    """Spectral norm of symmetric matrices."""
    return torch.linalg.eigvalsh(matrices).abs().amax(-1)
