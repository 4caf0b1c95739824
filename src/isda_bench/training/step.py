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
        loss: of the network's features, logits and head.
        bf16: whether the network runs under bfloat16 autocast; the loss never does.

    Attributes:
        capture: whether its training steps are captured as CUDA graphs: 'auto' falls back to eager steps.
        compiled: whether torch.compile compiles them.
    """

    def __init__(self, model: Classifier, loss: Loss, bf16: bool = False) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.bf16 = bf16
        self.capture: Literal["auto"] | bool = False
        self.compiled = False

    def forward(
        self, images: Tensor, targets: Tensor, progress: float | Tensor, *mixed: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The loss, a scalar, and the logits (N, C) of a batch.

        Args:
            images: (N, C, H, W).
            targets: (N,).
            progress: of the run.
            mixed: of a mixed batch: its second classes (N,) and the weight of `targets` beside them.
        """
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.bf16):
            features = self.model.features(images)
            logits = self.model.classify(features)
        return self.loss(Outputs(features, logits, self.model.head), targets, progress, *mixed), logits


def compile_step(module: TrainingModule) -> None:
    """Compiles forward and backward pass, statistics included, and the network as it is evaluated.

    Each is one graph for each batch size (the last batch of an epoch is a second one). On CUDA the network is
    evaluated as a CUDA graph.
    """
    on_cuda = next(module.parameters()).is_cuda
    settings: dict[str, Any] = {"fullgraph": True, "dynamic": False, "backend": BACKEND}
    module.model.compile(**settings, mode="reduce-overhead" if on_cuda else None)
    module.compile(**settings)
    module.compiled = True


def planned_execution(device: torch.device, loss: Loss, capture: bool | str, compiled: bool) -> str:
    """How steps will be executed if no capture fails: eager, captured, compiled, compiled and captured."""
    captured = bool(capture) and device.type == "cuda" and processes() == 1 and loss.capturable
    return execution_of("captured" if captured else "eager", compiled)


def execution_of(mode: str, compiled: bool) -> str:
    """The mode of a step, with its compilation."""
    if not compiled:
        return mode
    return "compiled and captured" if mode == "captured" else "compiled"


def can_be_captured(module: TrainingModule) -> bool:
    """Whether its training steps can be CUDA graphs: on such a device, alone, with a loss that allows it."""
    return next(module.parameters()).is_cuda and processes() == 1 and module.loss.capturable


Results = tuple[Tensor, Tensor]
"""Loss and logits."""


class Step:
    """An eager training step; from the first loss that is not finite on it makes no update.

    Args:
        module: model and loss.
        optimizer: over their parameters. On CUDA, where the host does not wait to look at the loss, fused
            kernels read the flag as `found_inf`; updates of others are undone (`update_unless`).
    """

    mode = "eager"
    """Whether steps are captured or eager."""

    def __init__(self, module: TrainingModule, optimizer: Optimizer) -> None:
        self.module = module
        self.optimizer = optimizer
        self.stopped = torch.zeros((), device=next(module.parameters()).device)
        self.fused = all(group.get("fused") for group in optimizer.param_groups)
        if self.stopped.is_cuda and self.fused:
            optimizer.found_inf = self.stopped  # type: ignore[attr-defined]

    def __call__(self, images: Tensor, targets: Tensor, progress: Tensor, *mixed: Tensor) -> Results:
        """Updates model and loss.

        Args:
            images: (N, C, H, W), float32.
            targets: (N,).
            progress: of the run, 0-d.
            mixed: of a mixed batch: its second classes (N,) and the weight of `targets` beside them, 0-d.

        Returns:
            The loss, a scalar, and the logits (N, C), from before the update.
        """
        loss, logits = self.module(images, targets, progress, *mixed)
        torch.maximum(self.stopped, (~loss.detach().isfinite()).float(), out=self.stopped)
        if self.stopped.is_cuda:
            self._backward(loss)
            if self.fused:
                self.optimizer.step()
            else:
                update_unless(self.stopped, self.optimizer)
        elif not self.stopped:
            self._backward(loss)
            self.optimizer.step()
        return loss.detach(), logits.detach()

    @property
    def execution(self) -> str:
        """How steps are executed; records name it."""
        return execution_of(self.mode, self.module.compiled)

    def _backward(self, loss: Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()


@torch.no_grad()
def update_unless(stopped: Tensor, optimizer: Optimizer) -> None:
    """A step of any optimizer, undone on the device where `stopped` is not 0; the host does not wait.

    Weight decay and momentum would move parameters with gradients of 0 too, so parameters and states are
    copied before. States that the optimizer creates in this very step, and counts on the host, stay.

    Args:
        stopped: 0-d, on the device of the parameters.
        optimizer: its gradients are computed.
    """
    changing = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    changing += [v for state in optimizer.state.values() for v in state.values() if isinstance(v, Tensor)]
    before = [(tensor, tensor.clone()) for tensor in changing if tensor.device == stopped.device]
    optimizer.step()
    for tensor, value in before:
        tensor.copy_(torch.where(stopped > 0, value, tensor))
