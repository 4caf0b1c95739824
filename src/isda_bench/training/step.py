"""One training step: forward pass, backward pass and update."""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from isda_bench.losses.base import Loss, Outputs
from isda_bench.models.base import Classifier
from isda_bench.runtime.ranks import processes

BACKEND = "inductor"


class TrainingModule(nn.Module):
    """Maps a batch to its loss and logits.

    Args:
        model: the network.
        loss: given the network's features, logits and head.
        bf16: whether the network runs under bfloat16 autocast; the loss never does.

    Attributes:
        capture: whether its training steps are captured as CUDA graphs: 'auto' falls back to eager steps.
    """

    def __init__(self, model: Classifier, loss: Loss, bf16: bool = False) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.bf16 = bf16
        self.capture: Literal["auto"] | bool = False

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


Results = tuple[Tensor, Tensor]
"""Loss and logits."""


class Step:
    """An eager training step; from the first loss that is not finite on it makes no update.

    Args:
        module: model and loss.
        optimizer: over their parameters; on CUDA its kernels are fused: they read `found_inf`.
    """

    mode = "eager"
    """How steps are executed; records name it."""

    def __init__(self, module: TrainingModule, optimizer: Optimizer) -> None:
        self.module = module
        self.optimizer = optimizer
        self.stopped = torch.zeros((), device=next(module.parameters()).device)
        if self.stopped.is_cuda:
            optimizer.found_inf = self.stopped  # type: ignore[attr-defined]

    def __call__(self, images: Tensor, targets: Tensor, progress: Tensor) -> Results:
        """Updates model and loss.

        Args:
            images: (N, C, H, W), float32.
            targets: (N,).
            progress: of the run, 0-d.

        Returns:
            The loss, a scalar, and the logits (N, C), from before the update.
        """
        loss, logits = self.module(images, targets, progress)
        torch.maximum(self.stopped, (~loss.detach().isfinite()).float(), out=self.stopped)
        # On CUDA the optimizer's kernels read the flag: the host does not wait for the device.
        if self.stopped.is_cuda or not self.stopped:
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        return loss.detach(), logits.detach()
