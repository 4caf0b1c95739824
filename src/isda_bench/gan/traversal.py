"""The effect of infoGAN's continuous codes on an image: pictures, and the steadiness of attributes."""

from pathlib import Path

import torch
from torch import Tensor

from isda_bench.data.image_grid import picture_of, write_grid
from isda_bench.gan.networks import Generator, fixed_inputs

STEPS = 9


@torch.no_grad()
def traversal(generator: Generator, code: int, draws: int = 1, steps: int = STEPS) -> Tensor:
    """Images while one code goes from -1 to 1: (C, draws, steps, channels, H, W), 0 to 255.

    Noise and the other codes stay as they are along the way; they are the same at every call.

    Args:
        generator: infoGAN's, in evaluation mode, on the CPU.
        code: which code.
        draws: of noise for each class.
        steps: of the code.
    """
    c = generator.num_classes
    noise, codes = (x.repeat_interleave(steps, 0) for x in fixed_inputs(c * draws, generator.codes, seed=2))
    codes[:, code] = torch.linspace(-1, 1, steps).repeat(c * draws)
    labels = torch.arange(c).repeat_interleave(draws * steps)
    return generator.generate(noise, labels, codes).unflatten(0, (c, draws, steps))


def steadiness(images: Tensor) -> dict[str, float]:
    """For each attribute of an image, how steadily it changes along the way: -1 (falls) to 1 (rises).

    The mean over ways of Spearman's rank correlation between place and attribute: it is large only if the
    attribute changes in one direction, the same one for most noise and most classes.

    Args:
        images: (..., steps, channels, H, W), not all of one grey.
    """
    return {name: _rank_correlation(values) for name, values in attributes(images.flatten(0, -5)).items()}


def attributes(images: Tensor) -> dict[str, Tensor]:
    """Attributes of images (..., channels, H, W): brightness; position, size and slant of the bright part.

    Place is the centre of mass of the brightness, size and slant come from its second moments.
    """
    grey = images.double().mean(-3)
    height, width = grey.shape[-2:]
    mass = grey.sum((-2, -1)).clamp_min(1e-6)
    y, x = torch.arange(height).double()[:, None], torch.arange(width).double()[None, :]

    def mean(values: Tensor) -> Tensor:
        return (grey * values).sum((-2, -1)) / mass

    row, column = mean(y), mean(x)
    dy, dx = y - row[..., None, None], x - column[..., None, None]
    return {
        "brightness": mass,
        "row": row,
        "column": column,
        "height": mean(dy**2),
        "width": mean(dx**2),
        "slant": mean(dx * dy),
    }


def write_traversal(path: Path, generator: Generator) -> None:
    """A row for each class, the code going from -1 to 1 in it; one block of rows for each code."""
    blocks = [traversal(generator, code)[:, 0] for code in range(generator.codes)]
    write_grid(path, picture_of(torch.cat(blocks).round().byte()))


def _rank_correlation(values: Tensor) -> float:
    """Mean over the rows of `values` (M, steps) of the rank correlation with 0, 1, ..., steps - 1."""
    ranks = values.argsort(1).argsort(1).double()
    place = torch.arange(values.shape[1]).double()
    centred, line = ranks - ranks.mean(1, keepdim=True), place - place.mean()
    return ((centred * line).sum(1) / line.square().sum()).mean().item()
