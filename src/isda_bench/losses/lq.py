"""L_q, the generalised cross-entropy: between cross-entropy and mean absolute error.

Source: Zhang and Sabuncu 2018, "Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy
Labels", Eq. 6.
"""

from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from isda_bench.arguments import checked
from isda_bench.losses.base import Loss, Outputs
from isda_bench.losses.focal import true_class_log_probability


class Lq(Loss):
    """L = mean_i (1 - p_i^q) / q, with p_i = softmax(z_i)[y_i]: 1 - p at q = 1, -log p as q -> 0.

    Args:
        num_classes: C.
        feature_dim: A.
        q: in (0, 1].

    Raises:
        ValueError: a q outside (0, 1].
    """

    @checked
    def __init__(
        self,
        num_classes: PositiveInt,
        feature_dim: PositiveInt,
        q: Annotated[float, Field(gt=0, le=1)] = 0.4,
    ) -> None:
        super().__init__(num_classes, feature_dim)
        self.q = q

    def compute(self, outputs: Outputs, targets: Tensor, progress: float | Tensor) -> Tensor:
        """The mean L_q loss of the logits."""
        log_p = true_class_log_probability(outputs.logits, targets)
        return -torch.expm1(self.q * log_p).mean() / self.q  # 1 - p^q would lose its digits as q -> 0
