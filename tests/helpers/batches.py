"""Small batches for the tests of the losses."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from isda_bench.losses import Loss, Outputs


class Batch(NamedTuple):
    features: Tensor
    weight: Tensor
    bias: Tensor
    targets: Tensor


def make_batch(n=23, classes=5, dim=7, dtype=torch.float64, seed=0) -> Batch:
    """Features, head and targets; the last class is absent, the one before has a single sample."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)  # noqa: E731
    targets = torch.randint(max(classes - 2, 1), (n,), generator=generator)
    targets[n // 2] = max(classes - 2, 0)
    return Batch(draw(n, dim) + 0.3, draw(classes, dim), draw(classes), targets)


def outputs_of(features: Tensor, weight: Tensor, bias: Tensor) -> Outputs:
    """What the network would hand over; gradients reach all three."""
    head = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    del head.weight, head.bias
    head.weight, head.bias = weight, bias
    return Outputs(features, features @ weight.T + bias, head)


def value_and_gradients(loss: Loss, batch: Batch, progress=0.6) -> list[Tensor]:
    """The loss and its gradients for features, weight and bias."""
    leaves = [tensor.clone().requires_grad_() for tensor in batch[:3]]
    value = loss(outputs_of(*leaves), batch.targets, progress)
    return [value.detach(), *torch.autograd.grad(value, leaves)]


def gradients_agree(loss: Loss, batch: Batch, progress=0.6) -> bool:
    """Whether finite differences agree with the gradients for features, weight and bias."""
    leaves = [tensor.clone().requires_grad_() for tensor in batch[:3]]
    return torch.autograd.gradcheck(
        lambda *parts: loss(outputs_of(*parts), batch.targets, progress), leaves, atol=1e-7
    )
