"""Batches of a data set that lives on the device."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from isda_bench.data.base import DataSet, ImageSet

EVALUATION_BATCH = 500
BatchTransform = Callable[[Tensor], Tensor]


class Mix(Protocol):
    """Adds images to the real ones of each batch, after they were transformed."""

    real_images: int
    """Real images of a full batch."""

    def added(self, real: int) -> int:
        """How many are added to `real` ones: fewer where a batch is short."""
        ...

    def __call__(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The batch with what is added to its images (N, C, H, W), float32, and targets (N,)."""
        ...


class Loader:
    """Batches (images (N, C, H, W) float32, targets (N,)) of a set that lives on the device.

    Args:
        images: the set, uint8; it is moved to `device`.
        batch_size: images a batch; the last one of an epoch is shorter where the set does not divide.
        device: where the set and the batches live.
        transforms: applied to a batch in turn: augmentations, and last the normalisation.
        shuffle: whether each epoch has an order of its own, from torch's default generator.
        mix: fills each batch up with other images; the set then gives fewer of a batch.

    Raises:
        ValueError: a batch larger than the set.
    """

    def __init__(
        self,
        images: ImageSet,
        batch_size: int,
        device: torch.device,
        transforms: Sequence[BatchTransform],
        shuffle: bool,
        mix: Mix | None = None,
    ) -> None:
        batch_size = batch_size if mix is None else mix.real_images
        if batch_size > len(images.targets):
            raise ValueError(f"batch_size={batch_size}: larger than the set of {len(images.targets)} images")
        self.images = images.images.to(device)
        self.targets = images.targets.to(device)
        self.batch_size = batch_size
        self.transforms = transforms
        self.shuffle = shuffle
        self.mix = mix

    @property
    def samples(self) -> int:
        """Images in an epoch, with those that are added."""
        real = len(self.targets)
        if self.mix is None:
            return real
        full, rest = divmod(real, self.batch_size)
        return real + full * self.mix.added(self.batch_size) + self.mix.added(rest)

    def __len__(self) -> int:
        """Batches in an epoch."""
        return -(-len(self.targets) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order_of = torch.randperm if self.shuffle else torch.arange
        order = order_of(len(self.targets), device=self.targets.device)
        for indices in order.split(self.batch_size):
            images = self.images[indices]
            for transform in self.transforms:
                images = transform(images)
            targets = self.targets[indices]
            yield (images, targets) if self.mix is None else self.mix(images, targets)


class Normalise:
    """Turns uint8 images into float32 of mean 0 and standard deviation 1 a channel.

    Args:
        mean: of each channel, in units of a pixel (0 to 255).
        std: likewise.
        device: where the images are.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], device: torch.device) -> None:
        self.mean = torch.tensor(mean, device=device).view(1, -1, 1, 1)
        self.inverse_std = 1 / torch.tensor(std, device=device).view(1, -1, 1, 1)

    def __call__(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W), uint8 or floats from 0 to 255, as float32."""
        return images.float().sub(self.mean).mul_(self.inverse_std)


def evaluation_loader(images: ImageSet, dataset: DataSet, device: torch.device) -> Loader:
    """The images to evaluate on, in order and not augmented, in batches that fit beside a network."""
    batch_size = min(EVALUATION_BATCH, len(images.targets))
    normalise = Normalise(dataset.mean, dataset.std, device)
    return Loader(images, batch_size, device, [normalise], shuffle=False)
