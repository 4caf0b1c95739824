"""The contract that every network keeps (features, then one linear layer), and shared building blocks."""

from collections.abc import Callable
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

Rate = Annotated[float, Field(ge=0, lt=1)]
"""A probability of dropping something: 0 drops nothing, 1 would drop everything."""


class Classifier(nn.Module):
    """A network whose last layer, `head`, is linear: ISDA augments the features before it."""

    head: nn.Linear

    @property
    def feature_dim(self) -> int:
        """A, the number of deep features of an image."""
        return self.head.in_features

    def features(self, images: Tensor) -> Tensor:
        """Deep features a of `images` (N, C, H, W), shape (N, A)."""
        raise NotImplementedError

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups of the trained parameters for the optimizer; `rate` is a group's part of the schedule's."""
        return [{"params": [parameter for parameter in self.parameters() if parameter.requires_grad]}]

    def pretraining(self) -> dict[str, str]:
        """A record's entry about the initial weights; empty for random ones."""
        return {}

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, num_classes) of `images` (N, C, H, W)."""
        return self.classify(self.features(images))

    def classify(self, features: Tensor) -> Tensor:
        """Logits (N, num_classes) of deep features (N, A), in the head's own precision also under autocast.

        In bfloat16 the likeliest of many classes would often be as likely as the next.
        """
        if features.is_meta:  # there is no autocast there
            return self.head(features)
        with torch.autocast(features.device.type, enabled=False):
            return self.head(features.to(self.head.weight.dtype))


def convolution(in_channels: int, channels: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution without bias (a BatchNorm follows or precedes it) that keeps H and W at stride 1.

    Args:
        in_channels: channels of its input.
        channels: channels of its output.
        kernel: odd side of the kernel.
        stride: divisor of H and W.
        groups: number of groups into which the channels are split.
    """
    return nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2, groups=groups, bias=False)


def projection(in_channels: int, channels: int, stride: int) -> nn.Module:
    """The shortcut of a residual block: a 1x1 convolution with BatchNorm where the shape changes."""
    if stride == 1 and in_channels == channels:
        return nn.Identity()
    return nn.Sequential(convolution(in_channels, channels, 1, stride), nn.BatchNorm2d(channels))


def stage(
    block: Callable[[int, int, int], nn.Module], in_channels: int, channels: int, blocks: int, stride: int
) -> nn.Sequential:
    """Residual blocks of which the first changes the shape.

    Args:
        block: makes a block of its input's channels, its output's, and its stride.
        in_channels: channels of the first block's input.
        channels: channels of every block's output.
        blocks: their number.
        stride: of the first block.
    """
    rest = (block(channels, channels, 1) for _ in range(blocks - 1))
    return nn.Sequential(block(in_channels, channels, stride), *rest)


def blocks_per_stage(depth: int, layers_per_block: int, other_layers: int) -> int:
    """Blocks in each of three stages: n, where depth = 3 n layers_per_block + other_layers.

    Raises:
        ValueError: no n of at least 1 gives this depth.
    """
    step = 3 * layers_per_block
    n, rest = divmod(depth - other_layers, step)
    if n < 1 or rest:
        valid = ", ".join(str(step * n + other_layers) for n in range(1, 6))
        raise ValueError(f"depth={depth}: should be {step}n + {other_layers}: {valid}, ...")
    return n


def he_initialise(model: nn.Module) -> None:
    """He initialisation of every convolution (normal, by fan-out); BatchNorm starts as the identity.

    The standard deviation is sqrt(2 / n), where n is kernel height x kernel width x output channels (of all
    groups). Biases of convolutions are 0. Linear layers keep PyTorch's default.

    Source: He et al. 2015, "Delving Deep into Rectifiers", Eq. 14.
    """
    for module in model.modules():
        # on the meta device, which has no values, the initialisation would load torch's compiler
        if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
