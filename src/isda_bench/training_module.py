"""Model and loss in one module: what torch.compile and DistributedDataParallel wrap."""

from typing import Any

import torch
from torch import Tensor, nn

from isda_bench.losses.base import Loss, Outputs
from isda_bench.models.base import Classifier
from isda_bench.ranks import processes

BACKEND = "inductor"


class TrainingModule(nn.Module):
    """Maps a batch to its loss and logits.

    Args:
        model: the network.
        loss: given the network's features, logits and head.
        bf16: whether the network runs under bfloat16 autocast; the loss never does.

    Attributes:
        captured: whether its training steps are to be captured as CUDA graphs.
    """

    def __init__(self, model: Classifier, loss: Loss, bf16: bool = False) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.bf16 = bf16
        self.captured = False

    def forward(self, images: Tensor, targets: Tensor, progress: float | Tensor) -> tuple[Tensor, Tensor]:
        """The loss, a scalar, and the logits (N, C) of `images` (N, C, H, W) with classes `targets` (N,)."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.bf16):
            features = self.model.features(images)
            logits = self.model.classify(features)
        return self.loss(Outputs(features, logits, self.model.head), targets, progress), logits


def compile_step(module: TrainingModule) -> None:
    """Compiles forward and backward pass, statistics included, and the network as it is evaluated.

    Each is one graph for each batch size (the last batch of an epoch is a second one). On CUDA the network is
    evaluated as a CUDA graph.
    """
    on_cuda = next(module.parameters()).is_cuda
    settings: dict[str, Any] = {"fullgraph": True, "dynamic": False, "backend": BACKEND}
    module.model.compile(**settings, mode="reduce-overhead" if on_cuda else None)
    module.compile(**settings)


def can_be_captured(module: TrainingModule) -> bool:
    """Whether its training steps can be CUDA graphs: on such a device, alone, with a loss that allows it."""
    return next(module.parameters()).is_cuda and processes() == 1 and module.loss.capturable
