"""Cross-entropy: the basic model of every table."""

from torch import Tensor
from torch.nn import functional as F

from isda_bench.losses.base import Loss, Outputs


class CrossEntropy(Loss):
    """L = mean_i -log softmax(z_i)[y_i]."""

    def compute(self, outputs: Outputs, targets: Tensor, progress: float | Tensor) -> Tensor:
        """The mean cross-entropy of the logits."""
        return F.cross_entropy(outputs.logits, targets)
