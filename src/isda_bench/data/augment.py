"""Augmentations of a batch of images, as tensor operations on the batch's own device.

Each is called with images (N, C, H, W), uint8, and returns as many of the same shape and type.
"""

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor

from isda_bench.arguments import checked
from isda_bench.errors import UserError


class NoAugmentation:
    """Leaves the images unchanged."""

    def __call__(self, images: Tensor) -> Tensor:
        """Returns `images`."""
        return images


class Standard:
    """Random crop of the reflected image and random horizontal flip (supplement B's input on CIFAR).

    Args:
        padding: pixels by which the image is reflected at every border; the crop moves by as many.
        flip: whether every second image, at random, is mirrored.

    Raises:
        ValueError: at the first batch, a padding as large as the image.
    """

    @checked
    def __init__(self, padding: NonNegativeInt, flip: bool) -> None:
        self.padding = padding
        self.flip = flip

    def __call__(self, images: Tensor) -> Tensor:
        """Crops and flips each image with a draw of its own: one gather of pixels for the batch."""
        n, channels, height, width = images.shape
        if self.padding >= min(height, width):
            raise ValueError(f"padding={self.padding}: should be less than the image, {height}x{width}")
        if self.padding == 0:
            return self._flipped(images)
        rows = self._shifted(n, height, images.device)
        columns = self._shifted(n, width, images.device)
        if self.flip:
            flipped = torch.rand(n, 1, device=images.device) < 0.5
            columns = torch.where(flipped, columns.flip(1), columns)
        pixels = (rows[:, :, None] * width + columns[:, None, :]).view(n, 1, -1)
        return images.flatten(2).gather(2, pixels.expand(-1, channels, -1)).view_as(images)

    def _flipped(self, images: Tensor) -> Tensor:
        """The flip alone: large images, cropped when they are read, need no gather."""
        if not self.flip:
            return images
        flipped = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
        return torch.where(flipped, images.flip(3), images)

    def _shifted(self, n: int, size: int, device: torch.device) -> Tensor:
        """For each image and place of the crop, (n, size), where its pixel comes from along one side."""
        shift = torch.randint(-self.padding, self.padding + 1, (n, 1), device=device)
        places = (torch.arange(size, device=device) + shift).abs()
        last = size - 1
        return last - (last - places).abs()


class Cutout:
    """The standard crop and flip, then one square hole in each image (DeVries and Taylor 2017).

    The hole is black before the normalisation, as in the ISDA authors' code.

    Args:
        padding, flip: as in `Standard`.
        size: side of the hole in pixels.

    Raises:
        ValueError: a size that is not positive.
        UserError: at the first batch, a size that could cover a whole image.
    """

    @checked
    def __init__(self, padding: NonNegativeInt, flip: bool, size: PositiveInt = 16) -> None:
        self.standard = Standard(padding, flip)
        self.size = size

    def __call__(self, images: Tensor) -> Tensor:
        """Crops, flips and cuts the hole, with draws of its own for each image."""
        return cut_out(self.standard(images), self.size)


def cut_out(images: Tensor, size: int) -> Tensor:
    """Images with a black square around a uniformly drawn pixel of each, clipped at the border.

    Args:
        images: (N, C, H, W).
        size: side of the square in pixels.

    Raises:
        UserError: a square that could cover a whole image.
    """
    n, _, height, width = images.shape
    if size >= min(height, width):
        raise UserError(
            f"augment: a hole of {size}x{size} pixels could cover a whole image of {height}x{width}; "
            f"choose a smaller one or another augmentation"
        )
    rows, columns = (_covered(n, side, size, images.device) for side in (height, width))
    return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0)


def _covered(n: int, side: int, size: int, device: torch.device) -> Tensor:
    """For each image, (n, side), which places along one side lie in its hole."""
    start = torch.randint(side, (n, 1), device=device) - size // 2
    places = torch.arange(side, device=device)
    return (places >= start) & (places < start + size)
