"""AutoAugment and RandAugment: chains of image operations, drawn for each image.

The draws come from torch's default generator of the CPU, so that nothing waits for a batch on another device.
"""

from typing import Annotated

import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor

from isda_bench.arguments import checked
from isda_bench.data.augment import Standard, cut_out
from isda_bench.data.image_operations import CIFAR10_POLICY, OPERATIONS, Choice, apply_choices, choose

PixelValue = Annotated[int, Field(ge=0, le=255)]
LAST_BIN = 9
"""AutoAugment's strengths are the numbers 0 to 9."""
STRONGEST = 30
"""RandAugment's are 0 to 30, as in its figures and in torchvision."""


class AutoAugment:
    """Crop and flip, the policy found for CIFAR-10, then a hole: the order of the ISDA authors' code.

    Each image draws one of 25 sub-policies, two operations with a probability and a strength each, and a sign
    for every operation that has one.

    Source: Cubuk et al. 2019, "AutoAugment: Learning Augmentation Strategies from Data", Table 7.

    Args:
        padding, flip: as in `Standard`.
        fill: value of the pixels that come from outside the image.
        cutout: side of the hole, as in `Cutout`; None leaves it out.

    Raises:
        ValueError: a fill outside 0..255; the hole's errors are those of `Cutout`.
    """

    @checked
    def __init__(
        self, padding: NonNegativeInt, flip: bool, fill: PixelValue = 128, cutout: PositiveInt | None = 16
    ) -> None:
        self.standard = Standard(padding, flip)
        self.fill = fill
        self.cutout = cutout

    def __call__(self, images: Tensor) -> Tensor:
        """Augments each image with draws of its own."""
        images = self.standard(images)
        for choices in self.draw(len(images)):
            images = apply_choices(images, choices, self.fill)
        return cut_out(images, self.cutout) if self.cutout else images

    def draw(self, n: int) -> list[list[Choice | None]]:
        """For the first and the second operation, the choices of `n` images."""
        drawn = torch.randint(len(CIFAR10_POLICY), (n,)).tolist()
        luck = torch.rand(2, n).tolist()
        negative = (torch.rand(2, n) < 0.5).tolist()
        choices: list[list[Choice | None]] = [[None] * n, [None] * n]
        for i, sub_policy in enumerate(drawn):
            for k, (operation, probability, bin_) in enumerate(CIFAR10_POLICY[sub_policy]):
                if luck[k][i] < probability:
                    choices[k][i] = choose(operation, (bin_ or 0) / LAST_BIN, negative[k][i])
        return choices


class RandAugment:
    """Crop and flip, N operations drawn from 14 with one strength for all, then a hole.

    Source: Cubuk et al. 2020, "RandAugment: Practical automated data augmentation with a reduced search
    space". Its appendix trains CIFAR-10 with N = 3 and M = 4 (Wide-ResNet-28-2), 5 (Wide-ResNet-28-10),
    9 (Shake-Shake 26 2x96d), 7 (PyramidNet with ShakeDrop), and Cutout after the operations.

    Args:
        padding, flip: as in `Standard`.
        num_operations: N; an operation can come twice.
        strength: M, from 0 to 30.
        fill, cutout: as in `AutoAugment`.

    Raises:
        ValueError: an N or M out of range, otherwise as `AutoAugment`.
    """

    operations = tuple(name for name in OPERATIONS if name != "Invert")

    @checked
    def __init__(
        self,
        padding: NonNegativeInt,
        flip: bool,
        num_operations: PositiveInt = 3,
        strength: Annotated[int, Field(ge=0, le=STRONGEST)] = 5,
        fill: PixelValue = 128,
        cutout: PositiveInt | None = 16,
    ) -> None:
        self.standard = Standard(padding, flip)
        self.num_operations = num_operations
        self.strength = strength
        self.fill = fill
        self.cutout = cutout

    def __call__(self, images: Tensor) -> Tensor:
        """Augments each image with draws of its own."""
        images = self.standard(images)
        for _ in range(self.num_operations):
            images = apply_choices(images, self.draw(len(images)), self.fill)
        return cut_out(images, self.cutout) if self.cutout else images

    def draw(self, n: int) -> list[Choice | None]:
        """The choices of `n` images for one operation."""
        drawn = torch.randint(len(self.operations), (n,)).tolist()
        negative = (torch.rand(n) < 0.5).tolist()
        strength = self.strength / STRONGEST
        return [choose(self.operations[k], strength, sign) for k, sign in zip(drawn, negative, strict=True)]
