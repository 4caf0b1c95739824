"""ResNet and SE-ResNet for small images.

Sources: He et al. 2016, "Deep Residual Learning", section 4.2; Hu et al. 2018, "Squeeze-and-Excitation
Networks".
"""

from functools import partial

from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from isda_bench.arguments import checked
from isda_bench.models.base import (
    Classifier,
    Rate,
    blocks_per_stage,
    convolution,
    he_initialise,
    projection,
    stage,
)


class SqueezeExcitation(nn.Module):
    """Scales each channel by a gate computed from all channels' averages (Hu et al. 2018, section 3)."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // reduction, bias=False)
        self.excite = nn.Linear(channels // reduction, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, channels, H, W) to the same shape."""
        gate = self.excite(F.relu(self.squeeze(x.mean((2, 3))))).sigmoid()
        return x * gate[:, :, None, None]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int,
        dropout: float = 0.0,
        se_reduction: int | None = None,
    ) -> None:
        super().__init__()
        self.conv1 = convolution(in_channels, channels, 3, stride)
        self.norm1 = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = convolution(channels, channels, 3)
        self.norm2 = nn.BatchNorm2d(channels)
        self.attention = SqueezeExcitation(channels, se_reduction) if se_reduction else nn.Identity()
        self.shortcut = projection(in_channels, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, in_channels, H, W) to (N, channels, H / stride, W / stride)."""
        out = F.relu(self.norm1(self.conv1(x)), inplace=True)
        out = self.attention(self.norm2(self.conv2(self.dropout(out))))
        return F.relu(out + self.shortcut(x), inplace=True)


class ResNet(Classifier):
    """ResNet of three stages of 16, 32 and 64 channels; the features are 64 averages.

    Initialisation: that of ISDA's reference code, He normal by fan-out for convolutions and PyTorch's
    default for the linear layers (the head's and those of squeeze-and-excitation).

    Args:
        num_classes: size of the head.
        depth: 6n + 2 layers (20, 32, 44, 56, 110, ...).
        se_reduction: by how much squeeze-and-excitation narrows the channels; None leaves it out.
        in_channels: channels of the images.
        dropout: rate between the two convolutions of a block; 0 leaves it out.

    Raises:
        ValueError: a depth that is not 6n + 2, a reduction that does not divide 16, a rate outside [0, 1), a
            size that is not positive.
    """

    @checked
    def __init__(
        self,
        num_classes: PositiveInt,
        depth: PositiveInt,
        se_reduction: PositiveInt | None = None,
        in_channels: PositiveInt = 3,
        dropout: Rate = 0.0,
    ) -> None:
        super().__init__()
        blocks = blocks_per_stage(depth, layers_per_block=2, other_layers=2)
        if se_reduction and 16 % se_reduction:
            raise ValueError(f"se_reduction={se_reduction}: should be null or divide 16: 1, 2, 4, 8, 16")
        block = partial(BasicBlock, dropout=dropout, se_reduction=se_reduction)
        self.stem = convolution(in_channels, 16, 3)
        self.norm = nn.BatchNorm2d(16)
        self.stages = nn.Sequential(
            stage(block, 16, 16, blocks, stride=1),
            stage(block, 16, 32, blocks, stride=2),
            stage(block, 32, 64, blocks, stride=2),
        )
        self.head = nn.Linear(64, num_classes)
        he_initialise(self)

    def features(self, images: Tensor) -> Tensor:
        """Deep features (N, 64)."""
        out = F.relu(self.norm(self.stem(images)), inplace=True)
        return self.stages(out).mean((2, 3))
