"""DCGAN-shaped generators and critics, with an axis for networks that are trained side by side.

Source of the shape: Radford et al. 2016, "Unsupervised Representation Learning with Deep Convolutional
Generative Adversarial Networks", section 3.

G networks of one shape are one network of grouped convolutions: channels, weights and BatchNorm's statistics
of each are its own, and one call computes all of them.
"""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NOISE = 100
"""Standard-normal inputs of every generator (supplement B)."""


def stages_of(image_size: int) -> int:
    """How often the side is doubled: 3 for 32x32 (from 4x4), 2 for 8x8 (from 2x2).

    Raises:
        ValueError: the side is no power of two from 8 up.
    """
    if image_size < 8 or image_size & (image_size - 1):
        raise ValueError(f"images of {image_size}x{image_size}: the side should be 8, 16, 32, 64, ...")
    return max(image_size.bit_length() - 3, 2)


class Generator(nn.Module):
    """Maps noise, and the further inputs of its kind, to images.

    Args:
        num_classes: C.
        in_channels: channels of the images.
        image_size: side of the images.
        width: channels of the last hidden layer; each layer before it has twice as many.
        conditional: whether the class is an input, one-hot.
        per_class: whether each class has a generator of its own (G = C), else G = 1.
        codes: continuous inputs beside the noise, uniform in [-1, 1] (infoGAN's).

    Raises:
        ValueError: a side that is no power of two.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        image_size: int,
        width: int = 64,
        conditional: bool = False,
        per_class: bool = False,
        codes: int = 0,
    ) -> None:
        super().__init__()
        stages = stages_of(image_size)
        self.arguments = {
            "num_classes": num_classes,
            "in_channels": in_channels,
            "image_size": image_size,
            "width": width,
            "conditional": conditional,
            "per_class": per_class,
            "codes": codes,
        }
        self.num_classes = num_classes
        self.conditional = conditional
        self.per_class = per_class
        self.codes = codes
        self.groups = num_classes if per_class else 1
        self.inputs = NOISE + codes + (num_classes if conditional else 0)
        self.shape = (in_channels, image_size, image_size)
        channels = [width << stage for stage in reversed(range(stages))]
        g = self.groups
        start = image_size >> stages
        first = nn.ConvTranspose2d(g * self.inputs, g * channels[0], start, groups=g, bias=False)
        layers: list[nn.Module] = [first, nn.BatchNorm2d(g * channels[0]), nn.ReLU(inplace=True)]
        for before, after in pairwise(channels):
            layers.append(nn.ConvTranspose2d(g * before, g * after, 4, 2, 1, groups=g, bias=False))
            layers += [nn.BatchNorm2d(g * after), nn.ReLU(inplace=True)]
        layers += [nn.ConvTranspose2d(g * channels[-1], g * in_channels, 4, 2, 1, groups=g), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        initialise(self)

    @property
    def labelled(self) -> bool:
        """Whether it generates images of a wanted class."""
        return self.conditional or self.per_class

    def forward(self, inputs: Tensor) -> Tensor:
        """Images (N, G, channels, H, W) in [-1, 1] of inputs (N, G, `inputs`)."""
        images = self.layers(inputs.flatten(1)[:, :, None, None])
        return images.view(len(inputs), self.groups, *self.shape)

    def concatenate_inputs(self, noise: Tensor, labels: Tensor | None, codes: Tensor | None) -> Tensor:
        """The inputs (N, 1, `inputs`) of a network that serves all classes."""
        parts = [noise]
        if self.conditional:
            assert labels is not None
            parts.append(F.one_hot(labels, self.num_classes).to(noise))
        if self.codes:
            assert codes is not None
            parts.append(codes)
        return torch.cat(parts, 1)[:, None]

    def generate(self, noise: Tensor, labels: Tensor | None = None, codes: Tensor | None = None) -> Tensor:
        """Images (N, channels, H, W), floats in [0, 255], differentiable in noise and codes.

        Args:
            noise: (N, 100).
            labels: wanted classes (N,), on any device; None only for a generator without classes.
            codes: (N, `codes`) in [-1, 1]; None: drawn uniformly from torch's default generator.
        """
        if self.labelled and labels is None:
            raise ValueError("labels=None: this generator makes images of a wanted class")
        if self.codes and codes is None:
            codes = 2 * torch.rand(len(noise), self.codes, device=noise.device, dtype=noise.dtype) - 1
        if self.per_class:
            assert labels is not None
            images = self._by_class(noise, labels)
        else:
            labels = None if labels is None else labels.to(noise.device, non_blocking=True)
            images = self(self.concatenate_inputs(noise, labels, codes))[:, 0]
        return (images.float() + 1) * 127.5

    def _by_class(self, noise: Tensor, labels: Tensor) -> Tensor:
        """Each noise through its class's own generator: the k-th of a class stands in row k of its column.

        With labels on the CPU nothing waits for another device: there the number of rows is known.
        """
        own = F.one_hot(labels, self.groups)
        rows = (own.cumsum(0) * own).sum(1) - 1
        slots = rows * self.groups + labels
        table = noise.new_zeros(int(rows.max()) + 1, self.groups, NOISE)
        slots = slots.to(noise.device, non_blocking=True)
        table = table.flatten(0, 1).index_copy(0, slots, noise).view_as(table)
        return self(table).flatten(0, 1)[slots]


def fixed_inputs(n: int, codes: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noise (n, 100) and codes (n, codes) that are the same at every call; no default generator moves."""
    own = torch.Generator().manual_seed(seed)
    return torch.randn(n, NOISE, generator=own), 2 * torch.rand(n, codes, generator=own) - 1


class Judgement(NamedTuple):
    """A critic's outputs for N images; None where it has no such head."""

    score: Tensor
    """(N, G): the critic's value, or the logit of being real."""
    classes: Tensor | None
    """Logits (N, C) of the class."""
    codes: Tensor | None
    """Means and logarithms of the variances of the continuous codes, (N, 2, codes)."""


class Critic(nn.Module):
    """Judges images: the generator's mirror image.

    Args:
        num_classes, in_channels, image_size, per_class: as in `Generator`.
        width: channels of the first layer; each later one has twice as many.
        conditional: whether the class is an input: mapped to a plane beside the image's channels.
        classifies: whether it has a head for the class.
        codes: continuous codes that it has a head for.
        dropout: rate after each layer.

    Raises:
        ValueError: a side that is no power of two.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        image_size: int,
        width: int = 64,
        conditional: bool = False,
        per_class: bool = False,
        classifies: bool = False,
        codes: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        stages = stages_of(image_size)
        g = num_classes if per_class else 1
        self.codes = codes
        self.label_plane = nn.Embedding(num_classes, image_size**2) if conditional else None
        before = in_channels + (1 if conditional else 0)
        layers: list[nn.Module] = []
        for stage in range(stages):
            after = width << stage
            layers.append(nn.Conv2d(g * before, g * after, 4, 2, 1, groups=g, bias=stage == 0))
            if stage:
                layers.append(nn.BatchNorm2d(g * after))
            layers += [nn.LeakyReLU(0.2, inplace=True), nn.Dropout(dropout)]
            before = after
        self.layers = nn.Sequential(*layers)
        side = image_size >> stages
        self.score = nn.Conv2d(g * before, g, side, groups=g)
        features = before * side**2
        self.class_head = nn.Linear(features, num_classes) if classifies else None
        self.code_head = nn.Linear(features, 2 * codes) if codes else None
        initialise(self)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Judgement:
        """The judgement of images (N, G, channels, H, W) in [-1, 1], of classes `labels` (N,)."""
        x = images.flatten(1, 2)
        if self.label_plane is not None:
            assert labels is not None
            x = torch.cat([x, self.label_plane(labels).view(len(x), 1, *x.shape[2:])], 1)
        features = self.layers(x)
        score = self.score(features)[:, :, 0, 0]
        flat = features.flatten(1)
        classes = None if self.class_head is None else self.class_head(flat)
        codes = None if self.code_head is None else self.code_head(flat).view(-1, 2, self.codes)
        return Judgement(score, classes, codes)


def initialise(network: nn.Module) -> None:
    """DCGAN's: weights from N(0, 0.02), BatchNorm's scales from N(1, 0.02)."""
    for module in network.modules():
        if any(parameter.is_meta for parameter in module.parameters(recurse=False)):
            continue  # there it would load torch's compiler
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
        elif isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
