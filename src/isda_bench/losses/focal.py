"""Focal loss: less weight for the samples that are easy.

Source: Lin et al. 2017, "Focal Loss for Dense Object Detection", Eq. 5, with the softmax over all classes.
"""

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from isda_bench.arguments import checked
from isda_bench.losses.base import Loss, Outputs


class Focal(Loss):
    """L = mean_i alpha (1 - p_i)^gamma (-log p_i), with p_i = softmax(z_i)[y_i].

    Args:
        num_classes: C.
        feature_dim: A.
        alpha: factor of the whole loss.
        gamma: how fast the weight falls with p; 0 leaves alpha times the cross-entropy.

    Raises:
        ValueError: an alpha that is not positive or a gamma below 0.
    """

    @checked
    def __init__(
        self,
        num_classes: PositiveInt,
        feature_dim: PositiveInt,
        alpha: PositiveFloat = 0.5,
        gamma: NonNegativeFloat = 1.0,
    ) -> None:
        super().__init__(num_classes, feature_dim)
        self.alpha = alpha
        self.gamma = gamma

    def compute(self, outputs: Outputs, targets: Tensor, progress: float | Tensor) -> Tensor:
        """The mean focal loss of the logits."""
        log_p = true_class_log_probability(outputs.logits, targets)
        # 1 - p is kept above 0: below gamma = 1 the power's slope is infinite there, and its gradient NaN
        miss = -torch.expm1(log_p).clamp(max=-torch.finfo(log_p.dtype).tiny)
        return -self.alpha * (miss**self.gamma * log_p).mean()


def true_class_log_probability(logits: Tensor, targets: Tensor) -> Tensor:
    """Log softmax(z_i)[y_i], (N,), of logits (N, C) and targets (N,)."""
    return logits.log_softmax(1).gather(1, targets[:, None]).squeeze(1)
