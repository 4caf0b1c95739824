"""Batches of a data set, on the device."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from isda_bench.data.base import DataSet, Images
from isda_bench.errors import UserError
from isda_bench.runtime.distributed import broadcast_tensors_, local_shard

BatchTransform = Callable[[Tensor], Tensor]


class Mix(Protocol):
    """Adds images to the real ones of each batch, after they were transformed."""

    real_images: int
    """Real images of a full batch."""

    def added(self, real: int) -> int:
        """How many are added to `real` ones: fewer where a batch is short."""
        ...

    def __call__(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The batch with further images (N, C, H, W), float32, and targets (N,) added."""
        ...


class MixedBatch(NamedTuple):
    """A batch whose images each have two classes."""

    images: Tensor
    """(N, C, H, W), float32."""
    targets: Tensor
    """The first classes, (N,)."""
    second: Tensor
    """The second classes, (N,)."""
    weight: Tensor
    """The first class's share of every image, in [0, 1], 0-d, the same on all ranks."""


Mixing = Callable[[Tensor, Tensor], MixedBatch]
"""Makes a mixed batch of images (N, C, H, W), float32, and their classes (N,)."""


class Loader:
    """Batches (images (N, C, H, W) float32, targets (N,)), or `MixedBatch`es where a mixing is given.

    Where several processes train together, the order is the first rank's and each rank gets its part of every
    batch: `batch_size`, `samples` and the number of batches are those of all ranks together.

    Args:
        images: the set, uint8; in memory it is moved to `device`.
        batch_size: images a batch; the last one of an epoch is shorter where the set does not divide.
        device: where the batches live.
        transforms: applied to a batch in turn: augmentations, and last the normalisation.
        shuffle: whether each epoch has an order of its own, from torch's default generator.
        mix: fills each batch up with other images; the set then gives fewer of a batch.
        mixing: mixes the transformed images of each batch with one another.

    Attributes:
        step: batches of the current epoch that were given.

    Raises:
        ValueError: a batch larger than the set, or both `mix` and `mixing`.
    """

    def __init__(
        self,
        images: Images,
        batch_size: int,
        device: torch.device,
        transforms: Sequence[BatchTransform],
        shuffle: bool,
        mix: Mix | None = None,
        mixing: Mixing | None = None,
    ) -> None:
        if mix is not None and mixing is not None:
            raise ValueError("mixing: generated images are not mixed with others")
        batch_size = batch_size if mix is None else mix.real_images
        if batch_size > len(images.targets):
            raise ValueError(f"batch_size={batch_size}: larger than the set of {len(images.targets)} images")
        self.images = images.to(device)
        self.batch_size = batch_size
        self.device = device
        self.transforms = transforms
        self.shuffle = shuffle
        self.mix = mix
        self.complete: Callable[[Tensor, Tensor], tuple[Tensor, ...]] = mix or mixing or _as_it_is
        self.step = 0
        self.order: Tensor | None = None
        self.seed = 0

    @property
    def samples(self) -> int:
        """Images in an epoch, with those that are added."""
        real = len(self.images.targets)
        if self.mix is None:
            return real
        full, rest = divmod(real, self.batch_size)
        return real + full * self.mix.added(self.batch_size) + self.mix.added(rest)

    @property
    def sizes(self) -> set[int]:
        """Images in a full batch and in the last one, with those that are added."""
        real = (self.batch_size, len(self.images.targets) % self.batch_size)
        return {n if self.mix is None else n + self.mix.added(n) for n in real if n}

    def __len__(self) -> int:
        """Batches in an epoch."""
        return -(-len(self.images.targets) // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        """An epoch, or the rest of the one that `restore_position` was given.

        Its batches are pairs (images, targets), or `MixedBatch`es.
        """
        order = self._draw() if self.order is None else self.order
        parts = [local_shard(batch) for batch in order.split(self.batch_size)[self.step :]]
        try:
            for images, targets in self.images.batches([part for part in parts if len(part)], self.seed):
                self.step += 1
                for transform in self.transforms:
                    images = transform(images)
                yield self.complete(images, targets)
        finally:
            self.step, self.order = 0, None

    def _draw(self) -> Tensor:
        """The order of a new epoch, and the seed of the random numbers drawn while its images are read."""
        real = len(self.images.targets)
        if not self.shuffle:
            return torch.arange(real, device=self.device)
        self.order = torch.randperm(real, device=self.device)
        seed = torch.randint(2**62, ()) if self.images.random else torch.zeros((), dtype=torch.int64)
        broadcast_tensors_(self.order, seed)
        self.seed = int(seed)
        return self.order

    def position(self) -> dict[str, Any]:
        """Where in the epoch it is: plain values and tensors, for `restore_position`."""
        assert self.order is not None
        return {"order": self.order.cpu(), "seed": self.seed, "step": self.step}

    def restore_position(self, position: dict[str, Any]) -> None:
        """Makes the next epoch the rest of the one at `position`.

        Raises:
            UserError: it is an epoch of another set.
        """
        if len(position["order"]) != len(self.images.targets):
            raise UserError(
                f"dataset: has {len(self.images.targets)} training images, but had {len(position['order'])} "
                f"when the checkpoint was written"
            )
        self.order = position["order"].to(self.device)
        self.seed, self.step = position["seed"], position["step"]


def _as_it_is(images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    return images, targets


class Normalise:
    """Turns uint8 images into float32 of mean 0 and standard deviation 1 a channel.

    Args:
        mean: of each channel, in units of a pixel (0 to 255).
        std: of each channel, 0 to 255.
        device: where the images are.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], device: torch.device) -> None:
        self.mean = torch.tensor(mean, device=device).view(1, -1, 1, 1)
        self.inverse_std = 1 / torch.tensor(std, device=device).view(1, -1, 1, 1)

    def __call__(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W), uint8 or floats from 0 to 255, as float32."""
        return images.float().sub(self.mean).mul_(self.inverse_std)


def evaluation_loader(images: Images, dataset: DataSet, device: torch.device) -> Loader:
    """The images to evaluate on, in order and not augmented, in batches that fit beside a network."""
    batch_size = min(dataset.evaluation_batch, len(images.targets))
    normalise = Normalise(dataset.mean, dataset.std, device)
    return Loader(images, batch_size, device, [normalise], shuffle=False)
