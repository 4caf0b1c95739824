"""ResNeXt for small images (Xie et al. 2017, "Aggregated Residual Transformations", section 5.3)."""

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


class BottleneckBlock(nn.Module):
    """1x1, grouped 3x3 and 1x1 convolutions, and a shortcut."""

    def __init__(
        self, in_channels: int, channels: int, stride: int, inner: int, groups: int, dropout: float
    ) -> None:
        super().__init__()
        self.conv1 = convolution(in_channels, inner, 1)
        self.norm1 = nn.BatchNorm2d(inner)
        self.conv2 = convolution(inner, inner, 3, stride, groups)
        self.norm2 = nn.BatchNorm2d(inner)
        self.dropout = nn.Dropout(dropout)
        self.conv3 = convolution(inner, channels, 1)
        self.norm3 = nn.BatchNorm2d(channels)
        self.shortcut = projection(in_channels, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, in_channels, H, W) to (N, channels, H / stride, W / stride)."""
        out = F.relu(self.norm1(self.conv1(x)), inplace=True)
        out = F.relu(self.norm2(self.conv2(out)), inplace=True)
        out = self.norm3(self.conv3(self.dropout(out)))
        return F.relu(out + self.shortcut(x), inplace=True)


class ResNeXt(Classifier):
    """Three stages of 256, 512 and 1024 channels; the features are 1024 averages.

    The grouped convolutions have cardinality x width channels in the first stage, twice and four times as
    many in the others, so that every cardinality divides them.

    Initialisation: that of ISDA's reference code, He normal by fan-out for convolutions (a grouped one
    counts the output channels of all groups) and PyTorch's default for the head.

    Args:
        num_classes: size of the head.
        depth: 9n + 2 layers (29, ...).
        cardinality: groups of a grouped convolution.
        width: channels of one group in the first stage.
        in_channels: channels of the images.
        dropout: rate before the last convolution of a block; 0 leaves it out.

    Raises:
        ValueError: a depth that is not 9n + 2, a rate outside [0, 1), a size that is not positive.
    """

    @checked
    def __init__(
        self,
        num_classes: PositiveInt,
        depth: PositiveInt,
        cardinality: PositiveInt,
        width: PositiveInt,
        in_channels: PositiveInt = 3,
        dropout: Rate = 0.0,
    ) -> None:
        super().__init__()
        blocks = blocks_per_stage(depth, layers_per_block=3, other_layers=2)
        block, inner = partial(BottleneckBlock, groups=cardinality, dropout=dropout), cardinality * width
        self.stem = convolution(in_channels, 64, 3)
        self.norm = nn.BatchNorm2d(64)
        self.stages = nn.Sequential(
            stage(partial(block, inner=inner), 64, 256, blocks, stride=1),
            stage(partial(block, inner=2 * inner), 256, 512, blocks, stride=2),
            stage(partial(block, inner=4 * inner), 512, 1024, blocks, stride=2),
        )
        self.head = nn.Linear(1024, num_classes)
        he_initialise(self)

    def features(self, images: Tensor) -> Tensor:
        """Deep features (N, 1024)."""
        out = F.relu(self.norm(self.stem(images)), inplace=True)
        return self.stages(out).mean((2, 3))
