"""Shake-Shake (Gastaldi 2017, "Shake-Shake regularization")."""

from functools import partial
from typing import Any, Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from isda_bench.arguments import checked
from isda_bench.models.base import Classifier, Rate, blocks_per_stage, convolution, he_initialise, stage


class _Mix(torch.autograd.Function):
    """alpha x1 + (1 - alpha) x2 forward; beta in the place of alpha backward."""

    @staticmethod
    def forward(ctx: Any, x1: Tensor, x2: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
        ctx.save_for_backward(beta)
        return torch.lerp(x2, x1, alpha)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (beta,) = ctx.saved_tensors
        grad1 = grad * beta
        return grad1, grad - grad1, None, None


def shake(x1: Tensor, x2: Tensor, training: bool) -> Tensor:
    """Mixes two branches (N, C, H, W) image by image; their mean where not in training.

    Forward alpha and backward beta are drawn apart, uniform in [0, 1] for each image (section 2.1, "Image"
    level). Both are drawn on the way forward, so that the backward pass of a compiled or captured step draws
    nothing.
    """
    if not training:
        return torch.lerp(x2, x1, 0.5)
    alpha, beta = torch.rand(2, len(x1), 1, 1, 1, device=x1.device).to(x1.dtype)
    mixed: Tensor = _Mix.apply(x1, x2, alpha, beta)
    return mixed


class TwoPaths(nn.Module):
    """Skip where channels change: a 1x1 convolution of the image, and one of the image shifted by one pixel.

    Each path yields half of the channels; at stride 2 the paths read different pixels. The image shifts up
    and left, as in ISDA's reference code; in Gastaldi's own code it shifts down and right.

    Source: Gastaldi 2017, section 2.1, and its published code (models/shakeshakeblock.lua).
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.path1 = convolution(in_channels, channels // 2, 1, stride)
        self.path2 = convolution(in_channels, channels - channels // 2, 1, stride)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, in_channels, H, W) to (N, channels, H / stride, W / stride)."""
        shifted = F.pad(x, (-1, 1, -1, 1))
        return self.norm(torch.cat((self.path1(x), self.path2(shifted)), 1))


class Branch(nn.Module):
    """Two 3x3 convolutions of an activated input, each with BatchNorm, and ReLU between them."""

    def __init__(self, in_channels: int, channels: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = convolution(in_channels, channels, 3, stride)
        self.norm1 = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = convolution(channels, channels, 3)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, in_channels, H, W) to (N, channels, H / stride, W / stride)."""
        out = F.relu(self.norm1(self.conv1(x)), inplace=True)
        return self.norm2(self.conv2(self.dropout(out)))


Skip = Literal["one_path", "two_paths"]


class ShakeBlock(nn.Module):
    """Two branches, mixed at random, and a skip."""

    def __init__(self, in_channels: int, channels: int, stride: int, dropout: float, skip: Skip) -> None:
        super().__init__()
        self.branch1 = Branch(in_channels, channels, stride, dropout)
        self.branch2 = Branch(in_channels, channels, stride, dropout)
        self.skip: nn.Module | None = None
        if stride == 2 or (skip == "two_paths" and in_channels != channels):
            self.skip = TwoPaths(in_channels, channels, stride)
        elif in_channels != channels:
            self.skip = nn.Sequential(convolution(in_channels, channels, 1), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, in_channels, H, W) to (N, channels, H / stride, W / stride)."""
        activated = F.relu(x)
        mixed = shake(self.branch1(activated), self.branch2(activated), self.training)
        return mixed + (x if self.skip is None else self.skip(activated))


class ShakeShake(Classifier):
    """Three stages of `width`, 2 x and 4 x `width` channels; the features are 4 x width averages.

    The reference implementation also builds a projection in each block that keeps its shape and never uses
    it: 63 width^2 + 42 width parameters at depth 26, and the published 3.0 M and 36.4 M count them. With
    `idle_projections` they are counted here too, as one vector that takes no part in the output and whose
    gradient is zero; the function is the same with and without them.

    Initialisation: that of Gastaldi's code for convolutions, He normal by fan-out and a zero bias in the stem
    (ISDA's reference code takes fan-in); the head has PyTorch's default, as in ISDA's reference code.

    Args:
        num_classes: size of the head.
        depth: 6n + 2 layers (26).
        width: channels of the first stage (32, 96, 112).
        skip: `two_paths` takes the two shifted paths wherever the channels change, as Gastaldi's and ISDA's
            code do. `one_path` takes a single 1x1 convolution in the first stage, where the resolution stays:
            the function of runs whose configuration lacks this key. The parameters are equally many.
        idle_projections: hold the parameters that the reference implementation never uses.
        in_channels: channels of the images.
        dropout: rate between the two convolutions of a branch; 0 leaves it out.

    Raises:
        ValueError: a depth that is not 6n + 2, a rate outside [0, 1), a size that is not positive.
    """

    @checked
    def __init__(
        self,
        num_classes: PositiveInt,
        depth: PositiveInt,
        width: PositiveInt,
        skip: Skip = "two_paths",
        idle_projections: bool = True,
        in_channels: PositiveInt = 3,
        dropout: Rate = 0.0,
    ) -> None:
        super().__init__()
        blocks = blocks_per_stage(depth, layers_per_block=2, other_layers=2)
        widths = (width, 2 * width, 4 * width)
        block = partial(ShakeBlock, dropout=dropout, skip=skip)
        self.stem = nn.Conv2d(in_channels, 16, 3, padding=1)  # with a bias, as the reference counts have it
        self.norm = nn.BatchNorm2d(16)
        self.stages = nn.Sequential(
            stage(block, 16, widths[0], blocks, stride=1),
            stage(block, widths[0], widths[1], blocks, stride=2),
            stage(block, widths[1], widths[2], blocks, stride=2),
        )
        size = (blocks - 1) * sum(w * w + 2 * w for w in widths) if idle_projections else 0
        self.idle = nn.Parameter(torch.zeros(size)) if size else None
        self.head = nn.Linear(widths[2], num_classes)
        he_initialise(self)

    def features(self, images: Tensor) -> Tensor:
        """Deep features (N, 4 x width)."""
        out = self.stages(self.norm(self.stem(images)))
        averages = F.relu(out, inplace=True).mean((2, 3))
        # in the graph: DistributedDataParallel wants a gradient from every parameter
        return averages if self.idle is None else averages + 0 * self.idle.sum()
