"""Wide-ResNet (Zagoruyko and Komodakis 2016, "Wide Residual Networks")."""

from functools import partial

from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from isda_bench.arguments import checked
from isda_bench.models.base import Classifier, Rate, blocks_per_stage, convolution, he_initialise, stage


class PreactivationBlock(nn.Module):
    """BatchNorm and ReLU before each of two 3x3 convolutions, dropout between them (the paper's figure 1d).

    Where the shape changes, the shortcut is a 1x1 convolution of the activated input.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = convolution(in_channels, channels, 3, stride)
        self.norm2 = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = convolution(channels, channels, 3)
        changes = stride != 1 or in_channels != channels
        self.shortcut = convolution(in_channels, channels, 1, stride) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, in_channels, H, W) to (N, channels, H / stride, W / stride)."""
        activated = F.relu(self.norm1(x), inplace=True)
        out = F.relu(self.norm2(self.conv1(activated)), inplace=True)
        out = self.conv2(self.dropout(out))
        return out + (x if self.shortcut is None else self.shortcut(activated))


class WideResNet(Classifier):
    """Three stages of 16, 32 and 64 channels times `width`; the features are 64 x width averages.

    Initialisation: that of ISDA's reference code, He normal by fan-out for convolutions and PyTorch's
    default for the head.

    Args:
        num_classes: size of the head.
        depth: 6n + 4 layers (16, 28, 40, ...).
        width: the widening factor k.
        in_channels: channels of the images.
        dropout: rate between the two convolutions of a block; 0.3 is part of the paper's basic model.

    Raises:
        ValueError: a depth that is not 6n + 4, a rate outside [0, 1), a size that is not positive.
    """

    @checked
    def __init__(
        self,
        num_classes: PositiveInt,
        depth: PositiveInt,
        width: PositiveInt,
        in_channels: PositiveInt = 3,
        dropout: Rate = 0.0,
    ) -> None:
        super().__init__()
        blocks = blocks_per_stage(depth, layers_per_block=2, other_layers=4)
        block = partial(PreactivationBlock, dropout=dropout)
        self.stem = convolution(in_channels, 16, 3)
        self.stages = nn.Sequential(
            stage(block, 16, 16 * width, blocks, stride=1),
            stage(block, 16 * width, 32 * width, blocks, stride=2),
            stage(block, 32 * width, 64 * width, blocks, stride=2),
        )
        self.norm = nn.BatchNorm2d(64 * width)
        self.head = nn.Linear(64 * width, num_classes)
        he_initialise(self)

    def features(self, images: Tensor) -> Tensor:
        """Deep features (N, 64 x width)."""
        out = self.norm(self.stages(self.stem(images)))
        return F.relu(out, inplace=True).mean((2, 3))
