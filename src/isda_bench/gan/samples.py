"""Samples of a generator during its training: their spread, and pictures."""

from pathlib import Path

import torch
from torch import Tensor

from isda_bench.data.base import ImageSet
from isda_bench.data.image_grid import picture_of, write_grid
from isda_bench.gan.networks import Generator, fixed_inputs

SPREAD_IMAGES = 16  # of each class, to see whether they differ


class Samples:
    """Images of a generator for the same noise every time; draws nothing from torch's default generators.

    Args:
        real: the training set, which says how much the images of a class differ.
        num_classes: C.
        every: epochs from one grid to the next.
        per_class: images of each class in a grid.
        device: where the generator is.
    """

    def __init__(
        self, real: ImageSet, num_classes: int, every: int, per_class: int, device: torch.device
    ) -> None:
        self.real = real
        self.num_classes = num_classes
        self.every = every
        self.per_class = per_class
        self.device = device
        self.real_spread: Tensor | None = None

    @torch.no_grad()
    def images(self, generator: Generator, per_class: int) -> Tensor:
        """Images (C, per_class, channels, H, W), 0 to 255; (1, C per_class, ...) without classes."""
        noise, codes = fixed_inputs(per_class * self.num_classes, generator.codes, seed=0)
        labels = torch.arange(self.num_classes).repeat_interleave(per_class)
        training = generator.training
        wanted = labels if generator.labelled else None
        images = generator.eval().generate(noise.to(self.device), wanted, codes.to(self.device))
        generator.train(training)
        return images.unflatten(0, (self.num_classes if generator.labelled else 1, -1))

    def spread(self, generator: Generator) -> Tensor:
        """Root mean square distance from the class's mean image, over that of real images: (C,), or (1,)."""
        images = self.images(generator, SPREAD_IMAGES).flatten(2).double()
        made = images.var(1, correction=0).sum(1).sqrt().cpu()
        targets = self.real.targets if generator.labelled else torch.zeros_like(self.real.targets)
        if self.real_spread is None:
            self.real_spread = self._real_spread(targets, len(images))
        return made / self.real_spread.clamp_min(1e-6)

    def _real_spread(self, targets: Tensor, classes: int) -> Tensor:
        pixels = self.real.images.flatten(1).double()
        by_class = [pixels[targets == c] for c in range(classes)]
        return torch.stack([part.var(0, correction=0).sum().sqrt() for part in by_class])

    def write(self, generator: Generator, directory: Path, epoch: int) -> None:
        """A grid, a row for each class: <directory>/samples-<epoch>.png."""
        images = self.images(generator, self.per_class).round().byte().cpu()
        if not generator.labelled:
            images = images[0].unflatten(0, (self.num_classes, -1))
        write_grid(directory / f"samples-{epoch:05d}.png", picture_of(images))
