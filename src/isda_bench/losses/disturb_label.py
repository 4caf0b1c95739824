"""DisturbLabel: training on labels of which a few are wrong.

Source: Xie et al. 2016, "DisturbLabel: Regularizing CNN on the Loss Layer".
"""

from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor
from torch.nn import functional as F

from isda_bench.arguments import checked
from isda_bench.losses.base import Loss, Outputs


class DisturbLabel(Loss):
    """Cross-entropy of disturbed labels, L = mean_i -log softmax(z_i)[y'_i].

    With probability `rate` y'_i is uniform over all C classes, otherwise y_i: the true class stays with
    probability 1 - rate (C - 1) / C. In evaluation mode y'_i = y_i. Mixed samples, whose second label
    disturbs the first one already, are refused.

    Args:
        num_classes: C.
        feature_dim: A.
        rate: part of the labels that are drawn anew, in [0, 1]. The paper's comparison takes 0.05 for
            Wide-ResNet-28-10 and for ResNet-110 on CIFAR-10, 0.1 for ResNet-110 on CIFAR-100.

    Raises:
        ValueError: a rate outside [0, 1].
    """

    mixable = False

    @checked
    def __init__(
        self,
        num_classes: PositiveInt,
        feature_dim: PositiveInt,
        rate: Annotated[float, Field(ge=0, le=1)] = 0.05,
    ) -> None:
        super().__init__(num_classes, feature_dim)
        self.rate = rate

    def compute(self, outputs: Outputs, targets: Tensor, progress: float | Tensor) -> Tensor:
        """The mean cross-entropy of the logits with the disturbed labels."""
        if self.training:
            targets = self.disturb(targets)
        return F.cross_entropy(outputs.logits, targets)

    def disturb(self, targets: Tensor) -> Tensor:
        """Labels (N,), each with a draw of its own, from torch's default generator."""
        chosen = torch.rand(targets.shape, device=targets.device) < self.rate
        return torch.where(chosen, torch.randint_like(targets, self.num_classes), targets)
