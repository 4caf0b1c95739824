"""The ablation's covariances, cheaper than one full matrix a class: diagonal, shared, identity.

Each takes in batches with `update` and gives ISDA's quadratic form between all pairs of classes,

    q_cj = (w_j - w_c)^T Sigma_c (w_j - w_c),    (C, C), with gradients for W,

multiplied out, so that nothing of size C x C x A is made.
"""

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from isda_bench.arguments import checked
from isda_bench.losses.class_statistics import ClassStatistics


class DiagonalCovariance(ClassStatistics):
    """The variances of each class's features (what the paper uses on ImageNet); the state is C x A.

    Args:
        num_classes: C.
        feature_dim: A.
    """

    @checked
    def __init__(self, num_classes: PositiveInt, feature_dim: PositiveInt) -> None:
        super().__init__(num_classes, feature_dim, diagonal=True)

    def quadratic_form(self, weight: Tensor) -> Tensor:
        """The form of W (C, A): sum_a s_ca (w_ja^2 - 2 w_ja w_ca + w_ca^2), s_c the variances of class c."""
        variance = self.covariance.to(weight.dtype)
        squares = variance @ weight.square().T
        form = squares - 2 * (variance * weight) @ weight.T + squares.diagonal()[:, None]
        return _without_diagonal(form)


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

    def quadratic_form(self, weight: Tensor) -> Tensor:
        """The form of W (C, A)."""
        return _common_form(weight, weight @ self.covariance[0].to(weight.dtype))


class IdentityCovariance(nn.Module):
    """The identity matrix for every class: no statistics.

    Args:
        num_classes: C.
        feature_dim: A.
    """

    @checked
    def __init__(self, num_classes: PositiveInt, feature_dim: PositiveInt) -> None:
        super().__init__()

    def update(self, features: Tensor, targets: Tensor) -> None:
        """Nothing to take in."""

    def quadratic_form(self, weight: Tensor) -> Tensor:
        """The form of W (C, A): ||w_j - w_c||^2."""
        return _common_form(weight, weight)


def _common_form(weight: Tensor, projected: Tensor) -> Tensor:
    """The form of one Sigma for all classes, with M = W Sigma W^T and `projected` = W Sigma."""
    products = projected @ weight.T
    squares = products.diagonal()
    return _without_diagonal(squares - 2 * products + squares[:, None])


def _without_diagonal(form: Tensor) -> Tensor:
    """The form with an exact 0 where j = c, instead of what rounding left there."""
    same = torch.eye(len(form), dtype=torch.bool, device=form.device)
    return form.masked_fill(same, 0)
