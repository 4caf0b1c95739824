"""The image operations of AutoAugment and RandAugment, on batches in which each image has chosen its own.

torchvision's tensor operations do the work. They take one magnitude for a batch, so the images that chose the
same operation and magnitude are done together: on one core this is faster than PIL image by image.

Source: Cubuk et al. 2019, "AutoAugment: Learning Augmentation Strategies from Data", Table 6, with the ranges
of the authors' code, which torchvision has too.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from isda_bench.runtime import torchvision_import as torchvision_import  # isort: skip
from torchvision.transforms import AutoAugment, AutoAugmentPolicy
from torchvision.transforms.v2 import functional as F

Transform = Callable[[Tensor, float, float], Tensor]
CIFAR10_POLICY = AutoAugment(AutoAugmentPolicy.CIFAR10).policies
"""25 sub-policies of two operations: name, probability, strength from 0 to 9 (None where it has none)."""


class Operation(NamedTuple):
    """An operation and how strongly it can be applied."""

    transform: Transform
    """Of images (N, C, H, W), uint8, a magnitude, and the value of pixels from outside the image."""
    largest: float = 0.0
    """The magnitude of full strength; strength 0 is magnitude 0."""
    signed: bool = False
    """Whether the magnitude has a random sign."""


class Choice(NamedTuple):
    """An operation on an image."""

    operation: str
    magnitude: float = 0.0


def choose(operation: str, strength: float, negative: bool) -> Choice:
    """The choice of an operation.

    Args:
        operation: its name in `OPERATIONS`.
        strength: in [0, 1].
        negative: the sign, where the operation has one.
    """
    _, largest, signed = OPERATIONS[operation]
    return Choice(operation, largest * (-strength if signed and negative else strength))


def apply_choices(images: Tensor, choices: Sequence[Choice | None], fill: float) -> Tensor:
    """Images (N, C, H, W), uint8, with the i-th choice applied to the i-th image; None: unchanged."""
    members: dict[Choice, list[int]] = defaultdict(list)
    for i, choice in enumerate(choices):
        if choice is not None:
            members[choice].append(i)
    result = images.clone()
    order = torch.tensor([i for indices in members.values() for i in indices], device=images.device)
    parts = order.split([len(indices) for indices in members.values()])
    for (operation, magnitude), chosen in zip(members, parts, strict=True):
        result[chosen] = OPERATIONS[operation].transform(images[chosen], magnitude, fill)
    return result


def _affine(images: Tensor, fill: float, **change: Any) -> Tensor:
    unchanged = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]}
    return F.affine(images, **(unchanged | change), fill=fill)


def _shear(images: Tensor, x: float, y: float, fill: float) -> Tensor:
    """Shears by x or y pixels a pixel, with the upper left corner fixed as in the authors' code."""
    degrees = [math.degrees(math.atan(x)), math.degrees(math.atan(y))]
    return _affine(images, fill, shear=degrees, center=[0, 0])


def _translate(images: Tensor, x: float, y: float, fill: float) -> Tensor:
    """Moves by parts x and y of the width and the height, in whole pixels."""
    height, width = images.shape[-2:]
    return _affine(images, fill, translate=[int(x * width), int(y * height)])


OPERATIONS = {
    "Identity": Operation(lambda images, _, fill: images),
    "ShearX": Operation(lambda images, x, fill: _shear(images, x, 0, fill), 0.3, True),
    "ShearY": Operation(lambda images, y, fill: _shear(images, 0, y, fill), 0.3, True),
    "TranslateX": Operation(lambda images, x, fill: _translate(images, x, 0, fill), 150 / 331, True),
    "TranslateY": Operation(lambda images, y, fill: _translate(images, 0, y, fill), 150 / 331, True),
    "Rotate": Operation(lambda images, degrees, fill: F.rotate(images, degrees, fill=fill), 30, True),
    "Brightness": Operation(lambda images, change, _: F.adjust_brightness(images, 1 + change), 0.9, True),
    "Color": Operation(lambda images, change, _: F.adjust_saturation(images, 1 + change), 0.9, True),
    "Contrast": Operation(lambda images, change, _: F.adjust_contrast(images, 1 + change), 0.9, True),
    "Sharpness": Operation(lambda images, change, _: F.adjust_sharpness(images, 1 + change), 0.9, True),
    "Posterize": Operation(lambda images, bits_less, _: F.posterize(images, 8 - round(bits_less)), 4),
    "Solarize": Operation(lambda images, below_white, _: F.solarize(images, 255 - below_white), 255),
    "AutoContrast": Operation(lambda images, _, fill: F.autocontrast(images)),
    "Equalize": Operation(lambda images, _, fill: F.equalize(images)),
    "Invert": Operation(lambda images, _, fill: F.invert(images)),
}
