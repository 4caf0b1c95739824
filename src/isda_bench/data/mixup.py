"""Mixup and CutMix: batches of pairs of images, with two classes and the share of the first.

The share and the box are drawn on the CPU, once a batch, so that the host never waits for another device.
Where several processes train together, the share and the box are the first rank's.
Partners are drawn on the images' device, from a rank's own images.
"""

import math

import torch
from pydantic import PositiveFloat
from torch import Tensor
from torch.distributions import Beta

from isda_bench.arguments import checked
from isda_bench.data.loader import MixedBatch
from isda_bench.runtime.distributed import broadcast_tensors_


class Mixup:
    """Each image is mixed with another of its batch, by one share for the batch.

    Source: Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization", with its code's one draw a batch.

    Args:
        alpha: of the distribution Beta(alpha, alpha), from which the first image's share is drawn; the paper
            takes 1 on CIFAR.

    Raises:
        ValueError: an alpha that is not positive.
    """

    @checked
    def __init__(self, alpha: PositiveFloat = 1.0) -> None:
        self.alpha = alpha

    def __call__(self, images: Tensor, targets: Tensor) -> MixedBatch:
        """Mixes images (N, C, H, W), floats, with classes (N,)."""
        (share,) = _same_on_all_ranks(_share(self.alpha))
        partner = torch.randperm(len(images), device=images.device)
        mixed = share * images + (1 - share) * images[partner]
        return MixedBatch(mixed, targets, targets[partner], _weight(share, images))


class CutMix:
    """A box of each image is replaced by that of another of its batch; one box for the batch.

    The first image's share is its part outside the box. The box is clipped at the border, so this part can
    exceed the drawn share.

    Source: Yun et al. 2019, "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable
    Features", equation 2 and the code of its authors.

    Args:
        alpha: of the distribution Beta(alpha, alpha), from which the share of the image outside the unclipped
            box is drawn; the paper takes 1.

    Raises:
        ValueError: an alpha that is not positive.
    """

    @checked
    def __init__(self, alpha: PositiveFloat = 1.0) -> None:
        self.alpha = alpha

    def __call__(self, images: Tensor, targets: Tensor) -> MixedBatch:
        """Mixes images (N, C, H, W), floats, with classes (N,)."""
        height, width = images.shape[-2:]
        share, *centre = _same_on_all_ranks(_share(self.alpha), torch.rand(2))
        side = math.sqrt(1 - share)
        (top, bottom), (left, right) = _box(height, side, centre[0]), _box(width, side, centre[1])
        partner = torch.randperm(len(images), device=images.device)
        mixed = images.clone()
        mixed[..., top:bottom, left:right] = images[..., top:bottom, left:right][partner]
        share = 1 - (bottom - top) * (right - left) / (height * width)
        return MixedBatch(mixed, targets, targets[partner], _weight(share, images))


def _share(alpha: float) -> Tensor:
    """A draw of Beta(alpha, alpha), (1,)."""
    return Beta(alpha, alpha).sample((1,))


def _same_on_all_ranks(*draws: Tensor) -> list[float]:
    """The first rank's draws: a loss weighs the global batch by one share."""
    drawn = torch.cat(draws)
    broadcast_tensors_(drawn)
    return [float(draw) for draw in drawn]


def _box(length: int, part: float, centre: float) -> tuple[int, int]:
    """First place and end, along a side, of a box of `part` of it around `centre` in [0, 1), clipped."""
    half = int(length * part) // 2
    middle = int(length * centre)
    return max(0, middle - half), min(length, middle + half)


def _weight(share: float, images: Tensor) -> Tensor:
    return torch.full((), share, device=images.device)
