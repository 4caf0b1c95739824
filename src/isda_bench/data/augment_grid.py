"""Pictures of what an augmentation does: a row for each image, the original first."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

ZOOM = 3
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


def write_grid(path: Path, picture: np.ndarray) -> None:
    """Writes a picture as PNG."""
    from matplotlib.image import imsave  # half a second: only where a picture is written

    path.parent.mkdir(parents=True, exist_ok=True)
    imsave(path, picture)
