"""Pictures of what an augmentation does, and of what a network sees."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from isda_bench.data.loader import Loader

ZOOM = 3
SIDE = 8  # images in a row of a picture of samples
GAP = 1  # pixels of white between images, before the zoom


def augmentation_grid(images: Tensor, augmentation: Callable[[Tensor], Tensor], draws: int) -> np.ndarray:
    """One picture: each image of `images` (M, C, H, W), uint8, and `draws` augmentations of it, in a row.

    Returns:
        Red, green and blue of M rows of 1 + draws images, (height, width, 3), uint8.
    """
    return picture_of(torch.stack([images, *(augmentation(images) for _ in range(draws))], 1))


def picture_of(rows: Tensor) -> np.ndarray:
    """One picture of M rows of n images, `rows` (M, n, C, H, W), uint8: (height, width, 3), uint8."""
    tiles = F.pad(rows, (0, GAP, 0, GAP), value=255)
    m, n, channels, height, width = tiles.shape
    picture = tiles.permute(0, 3, 1, 4, 2).reshape(m * height, n * width, channels)
    picture = picture.repeat_interleave(ZOOM, 0).repeat_interleave(ZOOM, 1)
    return picture.expand(-1, -1, 3).numpy()


def sample_grid(
    batches: Loader, mean: Sequence[float], std: Sequence[float], device: torch.device
) -> np.ndarray:
    """One picture: the first images of the first batch, as the network sees them, `SIDE` rows of as many.

    The random state is put back, so that a run with the picture is the run without.

    Args:
        batches: normalised.
        mean: of each channel, that they were normalised with, in units of a pixel.
        std: likewise.
        device: where the batches are made.

    Returns:
        Red, green and blue, (height, width, 3), uint8.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        images = next(iter(batches))[0][: SIDE * SIDE].cpu()
    scale, shift = (torch.tensor(values).view(1, -1, 1, 1) for values in (std, mean))
    pixels = (images * scale + shift).round().clamp(0, 255).to(torch.uint8)
    rows = (
        pixels[: len(pixels) // SIDE * SIDE].unflatten(0, (-1, SIDE)) if len(pixels) >= SIDE else pixels[None]
    )
    return picture_of(rows)


def write_grid(path: Path, picture: np.ndarray) -> None:
    """Writes a picture as PNG."""
    from matplotlib.image import imsave  # half a second: only where a picture is written

    path.parent.mkdir(parents=True, exist_ok=True)
    imsave(path, picture)
