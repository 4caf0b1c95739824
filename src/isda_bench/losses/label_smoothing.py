"""Label smoothing: a part of every label is spread over all classes.

Source: Szegedy et al. 2016, "Rethinking the Inception Architecture for Computer Vision", section 7.
"""

from typing import Annotated

from pydantic import Field, PositiveInt
from torch import Tensor
from torch.nn import functional as F

from isda_bench.arguments import checked
from isda_bench.losses.base import Loss, Outputs


class LabelSmoothing(Loss):
    """L = mean_i -sum_j q_ij log softmax(z_i)[j], with q_ij = (1 - smoothing) [j = y_i] + smoothing / C.

    Args:
        num_classes: C.
        feature_dim: A.
        smoothing: epsilon of the paper, in [0, 1): the part of a label that all C classes share; 0 is the
            cross-entropy.

    Raises:
        ValueError: a smoothing outside [0, 1).
    """

    @checked
    def __init__(
        self,
        num_classes: PositiveInt,
        feature_dim: PositiveInt,
        smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1,
    ) -> None:
        super().__init__(num_classes, feature_dim)
        self.smoothing = smoothing

    def compute(self, outputs: Outputs, targets: Tensor, progress: float | Tensor) -> Tensor:
        """The mean cross-entropy between the smoothed labels and the logits."""
        return F.cross_entropy(outputs.logits, targets, label_smoothing=self.smoothing)
