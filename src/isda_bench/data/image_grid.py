"""Pictures of augmented images, and of a network's input."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from isda_bench.data.base import DataSet
from isda_bench.data.loader import Loader, MixedBatch

ZOOM = 3
GAP = 1  # pixels of white between images, before the zoom
ROWS, COLUMNS = 4, 8  # of a picture of samples
READABLE = 96  # pixels of a sample's side, at least
CAPTION = 18  # pixels of height below a sample
FONT = 12  # pixels
MARGIN = 6  # pixels between samples


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


def sample_grid(batches: Loader, dataset: DataSet, device: torch.device) -> np.ndarray:
    """One picture: the first images of the first batch, as the network sees them, each above its class.

    The random state is put back, so that a run with the picture is the run without.

    Args:
        batches: normalised.
        dataset: with whose mean and deviation they were; names the classes.
        device: where the batches are made.

    Returns:
        Red, green and blue, (height, width, 3), uint8.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        batch = next(iter(batches))
    images = batch[0][: ROWS * COLUMNS].cpu()
    scale, shift = (torch.tensor(values).view(1, -1, 1, 1) for values in (dataset.std, dataset.mean))
    pixels = (images * scale + shift).round().clamp(0, 255).to(torch.uint8)
    return captioned(pixels, captions(batch, dataset.classes)[: len(pixels)])


def captions(batch: Any, classes: Sequence[str] | None) -> list[str]:
    """The class of each image of a batch, by name or number.

    Args:
        batch: (images, targets), or a `MixedBatch`, whose images each have two classes.
        classes: the names; null: numbers are used.
    """

    def name(target: int) -> str:
        return str(target) if classes is None else classes[target]

    first = [name(target) for target in batch[1].tolist()]
    if not isinstance(batch, MixedBatch):
        return first
    second = [name(target) for target in batch.second.tolist()]
    parts = zip(first, second, batch.weight.tolist(), strict=True)
    return [f"{100 * share:.0f}% {one}, {other}" for one, other, share in parts]


def captioned(images: Tensor, names: Sequence[str]) -> np.ndarray:
    """One picture of images (N, C, H, W), uint8, in rows, enlarged to a readable size, each above its name.

    Returns:
        Red, green and blue, (height, width, 3), uint8.
    """
    from PIL import Image, ImageDraw, ImageFont  # only where a picture is made

    zoom = -(-READABLE // max(images.shape[2:]))
    tiles = images.repeat_interleave(zoom, 2).repeat_interleave(zoom, 3)
    height, width = tiles.shape[2] + CAPTION + MARGIN, tiles.shape[3] + MARGIN
    rows = -(-len(tiles) // COLUMNS)
    page = Image.new("RGB", (min(len(tiles), COLUMNS) * width + MARGIN, rows * height + MARGIN), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(FONT)
    for i, (tile, name) in enumerate(zip(tiles, names, strict=True)):
        left, top = MARGIN + i % COLUMNS * width, MARGIN + i // COLUMNS * height
        page.paste(Image.fromarray(tile.expand(3, -1, -1).permute(1, 2, 0).numpy()), (left, top))
        fitting = _shortened(name, width - MARGIN, lambda text: draw.textlength(text, font))
        draw.text((left, top + tiles.shape[2] + 2), fitting, "black", font)
    return np.asarray(page)


def _shortened(text: str, width: float, length: Callable[[str], float]) -> str:
    """The text, or as much of it as fits `width`, with an ellipsis."""
    shown = text
    while length(shown) > width and len(shown) > 1:
        shown = shown.rstrip("\u2026")[:-1] + "\u2026"
    return shown


def write_grid(path: Path, picture: np.ndarray) -> None:
    """Writes a picture as PNG."""
    from matplotlib.image import imsave  # half a second: only where a picture is written

    path.parent.mkdir(parents=True, exist_ok=True)
    imsave(path, picture)
