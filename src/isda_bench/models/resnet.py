"""ResNet for small images (He et al. 2016, "Deep Residual Learning", section 4.2)."""

from typing import Annotated

from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from isda_bench.arguments import checked
from isda_bench.models.base import Classifier, he_initialise


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, a 1x1 convolution with BatchNorm where the shape changes."""

    def __init__(self, in_channels: int, channels: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != channels:
            convolution = nn.Conv2d(in_channels, channels, 1, stride, bias=False)
            self.shortcut = nn.Sequential(convolution, nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, in_channels, H, W) to (N, channels, H / stride, W / stride)."""
        out = F.relu(self.norm1(self.conv1(x)), inplace=True)
        out = self.norm2(self.conv2(self.dropout(out)))
        return F.relu(out + self.shortcut(x), inplace=True)


class ResNet(Classifier):
    """ResNet of three stages of 16, 32 and 64 channels; the features are 64 averages.

    Args:
        num_classes: size of the head.
        depth: 6n + 2 layers (20, 32, 44, 56, 110, ...).
        in_channels: channels of the images.
        dropout: rate between the two convolutions of a block; 0 leaves it out.

    Raises:
        ValueError: a depth that is not 6n + 2, a rate outside [0, 1), a size that is not positive.
    """

    @checked
    def __init__(
        self,
        num_classes: PositiveInt,
        depth: PositiveInt,
        in_channels: PositiveInt = 3,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    ) -> None:
        super().__init__()
        if depth < 8 or depth % 6 != 2:
            raise ValueError(f"depth={depth}: should be 6n + 2: 8, 14, 20, 32, 44, 56, 110, ...")
        blocks = (depth - 2) // 6
        self.stem = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.stages = nn.Sequential(
            self._stage(16, 16, blocks, 1, dropout),
            self._stage(16, 32, blocks, 2, dropout),
            self._stage(32, 64, blocks, 2, dropout),
        )
        self.head = nn.Linear(64, num_classes)
        he_initialise(self)

    @staticmethod
    def _stage(in_channels: int, channels: int, blocks: int, stride: int, dropout: float) -> nn.Sequential:
        first = BasicBlock(in_channels, channels, stride, dropout)
        return nn.Sequential(first, *(BasicBlock(channels, channels, 1, dropout) for _ in range(blocks - 1)))

    def features(self, images: Tensor) -> Tensor:
        """Deep features (N, 64)."""
        out = F.relu(self.norm(self.stem(images)), inplace=True)
        return self.stages(out).mean((2, 3))
