"""PyramidNet for small images, and ShakeDrop.

Sources: Han et al. 2017, "Deep Pyramidal Residual Networks"; Yamada et al. 2018, "ShakeDrop Regularization".
"""

from typing import Any, Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from isda_bench.arguments import checked
from isda_bench.models.base import Classifier, Rate, blocks_per_stage, convolution, he_initialise


class _Rescale(torch.autograd.Function):
    """Scales by one factor forward and by another one backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, forward_factor: Tensor, backward_factor: Tensor) -> Tensor:
        ctx.save_for_backward(backward_factor)
        return x * forward_factor

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (backward_factor,) = ctx.saved_tensors
        return grad * backward_factor, None, None


class ShakeDrop(nn.Module):
    """Disturbs a residual branch with probability `drop` (Yamada et al. 2018, section 3).

    One Bernoulli gate for the mini-batch says whether the branch passes as it is; where it does not, each
    image's branch is scaled by alpha, uniform in [-1, 1], and its gradient by beta, uniform in [0, 1]. In
    evaluation the branch is scaled by the expectation, 1 - drop. Everything is drawn on the way forward and
    chosen by `where`: no step of Python depends on the gate, and the backward pass draws nothing.

    Args:
        drop: probability that the branch does not pass as it is.
    """

    def __init__(self, drop: float) -> None:
        super().__init__()
        self.drop = drop

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, H, W) to the same shape."""
        if not self.training:
            return x * (1 - self.drop)
        passes = torch.rand(1, device=x.device) >= self.drop
        alpha, beta = torch.rand(2, len(x), 1, 1, 1, device=x.device)
        forward_factor = torch.where(passes, 1.0, 2 * alpha - 1).to(x.dtype)
        backward_factor = torch.where(passes, 1.0, beta).to(x.dtype)
        scaled: Tensor = _Rescale.apply(x, forward_factor, backward_factor)
        return scaled


class PyramidBlock(nn.Module):
    """A residual branch that begins and ends with BatchNorm, and a shortcut without parameters.

    The shortcut averages 2x2 pixels where the resolution halves, and fills up the channels with zeros.
    """

    def __init__(self, branch: nn.Sequential, stride: int, drop: float) -> None:
        super().__init__()
        self.branch = branch
        self.shake_drop = ShakeDrop(drop) if drop else nn.Identity()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, in_channels, H, W) to (N, channels, H / stride, W / stride), channels >= in_channels."""
        out = self.shake_drop(self.branch(x))
        shortcut = F.avg_pool2d(x, 2, ceil_mode=True) if self.stride == 2 else x
        return out + F.pad(shortcut, (0, 0, 0, 0, 0, out.shape[1] - shortcut.shape[1]))


def _basic(in_channels: int, width: int, stride: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.BatchNorm2d(in_channels),
        convolution(in_channels, width, 3, stride),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        convolution(width, width, 3),
        nn.BatchNorm2d(width),
    )


def _bottleneck(in_channels: int, width: int, stride: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.BatchNorm2d(in_channels),
        convolution(in_channels, width, 1),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        convolution(width, width, 3, stride),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        convolution(width, 4 * width, 1),
        nn.BatchNorm2d(4 * width),
    )


class PyramidNet(Classifier):
    """Blocks whose width grows additively, from 16 by alpha / (number of blocks) a block, to 16 + alpha.

    The features are 16 + alpha averages, four times as many with bottleneck blocks.

    Initialisation: that of ISDA's reference code, He normal by fan-out for convolutions and PyTorch's
    default for the head.

    Args:
        num_classes: size of the head.
        depth: 6n + 2 layers with basic blocks, 9n + 2 with bottleneck blocks.
        alpha: growth of the width from the stem to the last block.
        block: two 3x3 convolutions, or 1x1, 3x3 and 1x1 ones with four times the width at the end.
        shake_drop: ShakeDrop's probability in the last block, growing linearly from the first one; 0 leaves
            ShakeDrop out. (The paper names the opposite, p_L = 1 - shake_drop; both are 0.5.)
        in_channels: channels of the images.
        dropout: rate before the last convolution of a block; 0 leaves it out.

    Raises:
        ValueError: a depth that does not fit the block, a rate outside [0, 1), a size that is not positive.
    """

    @checked
    def __init__(
        self,
        num_classes: PositiveInt,
        depth: PositiveInt,
        alpha: PositiveInt,
        block: Literal["basic", "bottleneck"],
        shake_drop: Rate = 0.0,
        in_channels: PositiveInt = 3,
        dropout: Rate = 0.0,
    ) -> None:
        super().__init__()
        layers, expansion, branch = (2, 1, _basic) if block == "basic" else (3, 4, _bottleneck)
        n = blocks_per_stage(depth, layers, other_layers=2)
        self.stem = convolution(in_channels, 16, 3)
        self.norm1 = nn.BatchNorm2d(16)
        self.blocks = nn.Sequential()
        channels = 16
        for k in range(1, 3 * n + 1):
            progress = k / (3 * n)
            width = round(16 + alpha * progress)
            stride = 2 if k in (n + 1, 2 * n + 1) else 1
            residual = branch(channels, width, stride, dropout)
            self.blocks.append(PyramidBlock(residual, stride, shake_drop * progress))
            channels = expansion * width
        self.norm2 = nn.BatchNorm2d(channels)
        self.head = nn.Linear(channels, num_classes)
        he_initialise(self)

    def features(self, images: Tensor) -> Tensor:
        """Deep features (N, A)."""
        out = self.norm2(self.blocks(self.norm1(self.stem(images))))
        return F.relu(out, inplace=True).mean((2, 3))
