"""Model and loss in one module: what torch.compile and DistributedDataParallel wrap."""

from typing import Any

import torch
from torch import Tensor, nn

from isda_bench.losses.base import Loss, Outputs
from isda_bench.models.base import Classifier

BACKEND = "inductor"


class TrainingModule(nn.Module):
    """Maps a batch to its loss and logits.

    Args:
        model: the network.
        loss: given the network's features, logits and head.
        bf16: whether the network runs under bfloat16 autocast; the loss never does.
    """

    def __init__(self, model: Classifier, loss: Loss, bf16: bool = False) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.bf16 = bf16

    def forward(self, images: Tensor, targets: Tensor, progress: float | Tensor) -> tuple[Tensor, Tensor]:
        """The loss, a scalar, and the logits (N, C) of `images` (N, C, H, W) with classes `targets` (N,)."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.bf16):
            features = self.model.features(images)
            logits = self.model.head(features)
        return self.loss(Outputs(features, logits, self.model.head), targets, progress), logits


def compile_step(module: TrainingModule) -> None:
    """Compiles forward and backward pass, statistics included, and the network as it is evaluated.

    Each is one graph for each batch size (the last batch of an epoch is a second one), on CUDA a CUDA graph.
    """
    on_cuda = next(module.parameters()).is_cuda
    settings: dict[str, Any] = {"fullgraph": True, "dynamic": False, "backend": BACKEND}
    for part in (module.model, module):
        part.compile(**settings, mode="reduce-overhead" if on_cuda else None)
