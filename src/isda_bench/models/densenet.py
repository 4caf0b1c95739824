"""DenseNet-BC for small images (Huang et al. 2017, "Densely Connected Convolutional Networks")."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from isda_bench.arguments import checked
from isda_bench.models.base import Classifier, Rate, blocks_per_stage, convolution, he_initialise


class DenseLayer(nn.Module):
    """A bottleneck of 4 x growth channels, then a 3x3 convolution to `growth` new ones."""

    def __init__(self, in_channels: int, growth: int, dropout: float, checkpointing: bool) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = convolution(in_channels, 4 * growth, 1)
        self.norm2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = convolution(4 * growth, growth, 3)
        self.dropout = nn.Dropout(dropout)
        self.checkpointing = checkpointing

    def forward(self, x: list[Tensor]) -> Tensor:
        """New features (N, growth, H, W) of all features before, a list of (N, channels, H, W)."""
        recompute = self.checkpointing and torch.is_grad_enabled()
        out = self._checkpointed(*x) if recompute else self._bottleneck(*x)
        out = self.conv2(F.relu(self.norm2(out), inplace=True))
        return self.dropout(out)

    def _bottleneck(self, *x: Tensor) -> Tensor:
        return self.conv1(F.relu(self.norm1(torch.cat(x, 1)), inplace=True))

    def _checkpointed(self, *x: Tensor) -> Tensor:
        # the bottleneck draws nothing, so no random state needs keeping
        run = partial(checkpoint, self._bottleneck, use_reentrant=False, preserve_rng_state=False)
        if torch.compiler.is_compiling():  # a compiler repeats computations, but not their effects on buffers
            return run(*x)
        return run(*x, context_fn=self._contexts)

    def _contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _statistics_kept(self.norm1)


@contextmanager
def _statistics_kept(norm: nn.BatchNorm2d) -> Iterator[None]:
    """Lets `norm` leave its running statistics alone: computing a batch again is not seeing it again."""
    momentum, count = norm.momentum, norm.num_batches_tracked
    norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        norm.momentum, norm.num_batches_tracked = momentum, count


class DenseBlock(nn.ModuleList):
    """Layers that each see the features of all layers before them."""

    def __init__(
        self, in_channels: int, growth: int, layers: int, dropout: float, checkpointing: bool
    ) -> None:
        widths = (in_channels + i * growth for i in range(layers))
        super().__init__(DenseLayer(width, growth, dropout, checkpointing) for width in widths)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, in_channels, H, W) to (N, in_channels + layers x growth, H, W)."""
        features = [x]
        for layer in self:
            features.append(layer(features))
        return torch.cat(features, 1)


class Transition(nn.Module):
    """Compresses the channels with a 1x1 convolution and halves the resolution."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.conv = convolution(in_channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, in_channels, H, W) to (N, channels, H / 2, W / 2)."""
        return F.avg_pool2d(self.conv(F.relu(self.norm(x), inplace=True)), 2)


class DenseNet(Classifier):
    """Three dense blocks and two transitions; 2 x growth_rate initial features, as the paper has it for BC.

    ISDA's reference code has 24 initial features at every growth rate: the same network at growth rate 12, a
    smaller one at 40.

    Initialisation: that of ISDA's reference code, He normal by fan-out for convolutions and PyTorch's
    default for the head.

    Args:
        num_classes: size of the head.
        depth: 6n + 4 layers (40, 100, 190, ...).
        growth_rate: k, the new features of a layer.
        compression: theta, the share of the channels that a transition keeps, in (0, 1].
        checkpointing: compute the bottlenecks again in the backward pass instead of keeping their inputs
            (the concatenations, and their normalised form). The numbers stay the same to the bit; at
            depth 100 and growth rate 12 a step takes about a third less memory and a third more time.
        in_channels: channels of the images.
        dropout: rate of a layer's new features; 0 leaves it out.

    Raises:
        ValueError: a depth that is not 6n + 4, a rate outside [0, 1), a compression outside (0, 1] or so
            small that no channel remains, a size that is not positive.
    """

    @checked
    def __init__(
        self,
        num_classes: PositiveInt,
        depth: PositiveInt,
        growth_rate: PositiveInt,
        compression: Annotated[float, Field(gt=0, le=1)] = 0.5,
        checkpointing: bool = False,
        in_channels: PositiveInt = 3,
        dropout: Rate = 0.0,
    ) -> None:
        super().__init__()
        layers = blocks_per_stage(depth, layers_per_block=2, other_layers=4)
        channels = 2 * growth_rate
        self.stem = convolution(in_channels, channels, 3)
        self.stages = nn.Sequential()
        for stage in range(3):
            self.stages.append(DenseBlock(channels, growth_rate, layers, dropout, checkpointing))
            channels += layers * growth_rate
            if stage < 2:
                compressed = _compressed(channels, compression)
                self.stages.append(Transition(channels, compressed))
                channels = compressed
        self.norm = nn.BatchNorm2d(channels)
        self.head = nn.Linear(channels, num_classes)
        he_initialise(self)

    def features(self, images: Tensor) -> Tensor:
        """Deep features (N, A), the averages of the last block's channels."""
        out = self.norm(self.stages(self.stem(images)))
        return F.relu(out, inplace=True).mean((2, 3))


def _compressed(channels: int, compression: float) -> int:
    if channels * compression < 1:
        raise ValueError(f"compression={compression}: should lie in [1/{channels}, 1]")
    return int(channels * compression)
