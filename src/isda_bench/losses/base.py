"""What a loss is given, and the contract that every loss keeps."""

from typing import Any, NamedTuple

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from isda_bench.arguments import checked
from isda_bench.runtime.distributed import gather_rows


class Outputs(NamedTuple):
    """What the network made of a batch."""

    features: Tensor
    """a, (N, A): what enters the last linear layer."""
    logits: Tensor
    """W a + b, (N, C)."""
    head: nn.Linear
    """The last linear layer: weight W (C, A), bias b (C,)."""


class Loss(nn.Module):
    """Called as `loss(outputs, targets, progress)`; a subclass writes `compute`.

    What a loss learns or accumulates is a parameter or a buffer, so that checkpoints carry it, and changed in
    place; what it draws comes from torch, on the device: on CUDA a step is replayed, not called again.
    Statistics move only in training mode. A loss never calls the model. Where several processes train
    together, `compute` has the global batch on every rank: all that a loss sums is as in one process.

    Args:
        num_classes: C.
        feature_dim: A.

    Attributes:
        capturable: whether a step with it can be one graph, of torch.compile or of CUDA: no shape depends on
            values, nothing waits for the device, and nothing is kept in Python.
    """

    capturable = True

    @checked
    def __init__(self, num_classes: PositiveInt, feature_dim: PositiveInt) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.feature_dim = feature_dim

    def forward(self, outputs: Outputs, targets: Tensor, progress: float | Tensor) -> Tensor:
        """The mean loss of a batch, a scalar in float32 (float64 for float64 outputs), also under autocast.

        Args:
            outputs: features (N, A) and logits (N, C) of the batch, and the head.
            targets: class indices (N,).
            progress: part of the training that lies behind, in [0, 1]; a float or a 0-d tensor.

        Raises:
            ValueError: targets outside 0..C-1 (looked at on the CPU only, and not in compiled code: it would
                have to wait for them).
        """
        if targets.device.type == "cpu" and not torch.compiler.is_compiling():
            self._check_targets(targets)
        with torch.autocast(outputs.logits.device.type, enabled=False):
            if self.training:
                features, logits, targets = gather_rows(outputs.features, outputs.logits, targets)
                outputs = Outputs(features, logits, outputs.head)
            return self.compute(in_single_precision(outputs), targets, progress)

    def compute(self, outputs: Outputs, targets: Tensor, progress: float | Tensor) -> Tensor:
        """The loss itself; arguments as in `forward`, in float32 or float64."""
        raise NotImplementedError

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Optimizer groups of the loss's own parameters, with their settings; empty by default."""
        return []

    def _check_targets(self, targets: Tensor) -> None:
        lowest, highest = (int(t) for t in targets.aminmax())
        if lowest < 0 or highest >= self.num_classes:
            last = self.num_classes - 1
            raise ValueError(f"targets: labels from {lowest} to {highest}, should lie in 0..{last}")


def in_single_precision(outputs: Outputs) -> Outputs:
    """Features and logits in float32 where they are in half precision; float64 stays."""
    features, logits, head = outputs
    return Outputs(_upcast(features), _upcast(logits), head)


def _upcast(values: Tensor) -> Tensor:
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values
