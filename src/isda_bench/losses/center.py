"""Center loss: features drawn towards a center of their class, which follows them.

Source: Wen et al. 2016, "A Discriminative Feature Learning Approach for Deep Face Recognition", Eq. 2-5.
"""

from typing import Any

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from isda_bench.arguments import checked
from isda_bench.losses.base import Loss, Outputs
from isda_bench.losses.class_statistics import finite_rows


class Center(Loss):
    """L = mean_i CE(z_i, y_i) + weight / 2 mean_i ||a_i - c_{y_i}||^2, with a center c_j for each class.

    The centers take Wen's step (Eq. 4), plain gradient descent along

        delta_j = sum_{i: y_i = j} (c_j - a_i) / (1 + n_j),        n_j samples of class j in the batch

    which is not the loss's own gradient: it is not scaled by the weight, and a center moves at most to its
    samples' mean. Here `centers.grad` becomes delta. The paper does not say where they start: here at 0.
    A mixed sample has no class of its own to be drawn to, so that this loss cannot be mixed.

    Args:
        num_classes: C.
        feature_dim: A.
        weight: of the centers' term beside the cross-entropy (lambda of the paper).
        learning_rate: initial learning rate of the centers (alpha of the paper), scaled by the schedule.

    Raises:
        ValueError: a weight or a learning rate below 0.
    """

    mixable = False
    plain_descent = True

    @checked
    def __init__(
        self,
        num_classes: PositiveInt,
        feature_dim: PositiveInt,
        weight: NonNegativeFloat = 0.003,
        learning_rate: NonNegativeFloat = 0.5,
    ) -> None:
        super().__init__(num_classes, feature_dim)
        self.weight = weight
        self.learning_rate = learning_rate
        self.centers = nn.Parameter(torch.zeros(num_classes, feature_dim))

    def compute(self, outputs: Outputs, targets: Tensor, progress: float | Tensor) -> Tensor:
        """Cross-entropy and the centers' term, whose gradient for the centers is delta."""
        features, logits, _ = outputs
        centers = self.centers.to(features.dtype)
        distance = features - centers.detach()[targets]
        pull = self.weight / 2 * distance.square().sum(1).mean()
        step = (centers * self._delta(distance.detach(), targets)).sum()
        # The last term is 0 and has a gradient
        return F.cross_entropy(logits, targets) + pull + (step - step.detach())

    def _delta(self, distance: Tensor, targets: Tensor) -> Tensor:
        """Wen's delta (C, A) of a_i - c_{y_i} (N, A), without rows that are not finite.

        As a product, so that CUDA's runs agree to the bit.
        """
        finite = finite_rows(distance)
        distance = torch.where(finite[:, None], distance, 0)  # before the product: 0 times infinity is NaN
        member = (torch.arange(self.num_classes, device=targets.device)[:, None] == targets) & finite
        return -(member.to(distance.dtype) @ distance) / (1 + member.sum(1, keepdim=True))

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The centers, in plain gradient descent."""
        plain = {"momentum": 0.0, "weight_decay": 0.0, "nesterov": False}
        return [{"params": [self.centers], "lr": self.learning_rate, **plain}]
