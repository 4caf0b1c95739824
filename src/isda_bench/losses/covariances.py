"""The ablation's covariances, cheaper than one full matrix a class: diagonal, shared, identity.

Each takes in batches with `update` and has ISDA's quadratic form between samples' classes and all others,

    q_ij = (w_j - w_y)^T Sigma_y (w_j - w_y),    y = y_i,    (N, C), with gradients for W,

multiplied out, so that nothing of size N x C x A or C x C x A is made.
"""

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from isda_bench.arguments import checked
from isda_bench.losses.class_statistics import ClassStatistics, OnlineStatistics


class DiagonalCovariance(OnlineStatistics):
    """The variances of each class's features (the paper's choice on ImageNet).

    Args:
        num_classes: C.
        feature_dim: A.

    Attributes:
        covariance: the diagonals of Sigma, (C, A).
    """

    covariance: Tensor

    @checked
    def __init__(self, num_classes: PositiveInt, feature_dim: PositiveInt) -> None:
        super().__init__(num_classes, feature_dim)
        self.register_buffer("covariance", torch.zeros(num_classes, feature_dim))

    def _spread(
        self, kept: Tensor, deviations: Tensor, shifts: Tensor, targets: Tensor, member: Tensor
    ) -> None:
        squares = member @ deviations.square() + shifts.square()
        self.covariance.mul_(kept[:, None]).add_(squares)

    def covariance_of(self, label: int) -> Tensor:
        """Sigma of class `label`, a diagonal matrix (A, A)."""
        return self.covariance[label].diag()

    def spectrum(self) -> Tensor:
        """The variances of each class, float64, the largest first, (C, A)."""
        return self.covariance.double().sort(1, descending=True).values

    def quadratic_form(self, weight: Tensor, targets: Tensor) -> Tensor:
        """The form of W (C, A) and y (N,): sum_a s_ya (w_ja^2 - 2 w_ja w_ya + w_ya^2), s_y the variances."""
        variance = self.covariance.to(weight.dtype, copy=True)  # the next update must not change this graph
        squares = variance @ weight.square().T
        form = squares - 2 * (variance * weight) @ weight.T + squares.diagonal()[:, None]
        return without_diagonal(form)[targets]


class SharedCovariance(ClassStatistics):
    """One covariance of the features of all classes together, around their common mean.

    Args:
        num_classes: C.
        feature_dim: A.
    """

    @checked
    def __init__(self, num_classes: PositiveInt, feature_dim: PositiveInt) -> None:
        super().__init__(1, feature_dim)

    def update(self, features: Tensor, targets: Tensor) -> None:
        """Takes in one batch, as if all samples were of one class."""
        super().update(features, torch.zeros_like(targets))

    def covariance_of(self, label: int) -> Tensor:
        """Sigma, (A, A), the same for every class; `spectrum` has one row."""
        return self.covariance[0]

    def quadratic_form(self, weight: Tensor, targets: Tensor) -> Tensor:
        """The form of W (C, A) and y (N,)."""
        sigma = self.covariance[0].to(weight.dtype, copy=True)  # the next update must not change this graph
        return _common_form(weight, weight @ sigma)[targets]


class IdentityCovariance(nn.Module):
    """The identity matrix for every class: no statistics.

    Args:
        num_classes: C.
        feature_dim: A.
    """

    @checked
    def __init__(self, num_classes: PositiveInt, feature_dim: PositiveInt) -> None:
        super().__init__()
        self.feature_dim = feature_dim

    def update(self, features: Tensor, targets: Tensor) -> None:
        """Keeps nothing of a batch."""

    def covariance_of(self, label: int) -> Tensor:
        """The identity matrix, (A, A)."""
        return torch.eye(self.feature_dim)

    def quadratic_form(self, weight: Tensor, targets: Tensor) -> Tensor:
        """The form of W (C, A) and y (N,): ||w_j - w_y||^2."""
        return _common_form(weight, weight)[targets]


def _common_form(weight: Tensor, projected: Tensor) -> Tensor:
    """The form of one Sigma for all classes, with M = W Sigma W^T and `projected` = W Sigma."""
    products = projected @ weight.T
    squares = products.diagonal()
    return without_diagonal(squares - 2 * products + squares[:, None])


def without_diagonal(form: Tensor) -> Tensor:
    """The form with an exact 0 where j = c, instead of a rounding error."""
    same = torch.eye(len(form), dtype=torch.bool, device=form.device)
    return form.masked_fill(same, 0)
