"""Data sets: arrays of images, split into training and evaluation."""

import copy
import hashlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Protocol, Self

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor

from isda_bench.arguments import checked
from isda_bench.data.splits import Seed, checksum_of_indices, long_tail, split_indices, stratified_order
from isda_bench.errors import UserError

Split = Literal["test", "validation"]


class Images(Protocol):
    """A set of images that can be read by the batch."""

    @property
    def random(self) -> bool:
        """Whether reading an image draws random numbers (a crop), for which each epoch then has a seed."""

    @property
    def targets(self) -> Tensor:
        """The images' classes (N,), int64."""

    @property
    def unreadable(self) -> Collection[str]:
        """Names of the images that were found to be unreadable, and skipped."""

    def to(self, device: torch.device) -> "Images":
        """The set, to give batches on `device`."""

    def batches(self, indices: Sequence[Tensor], seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """For each tensor of indices (n,) the images (n, C, H, W), uint8, and their classes (n,).

        Args:
            indices: a tensor a batch.
            seed: with an image's index it seeds the random numbers of that image.
        """


class ImageSet(NamedTuple):
    """Images (N, C, H, W), uint8, and their classes (N,), int64, in memory."""

    images: Tensor
    targets: Tensor

    @property
    def random(self) -> bool:
        """False: the images are read as they are."""
        return False

    @property
    def unreadable(self) -> Collection[str]:
        """None."""
        return ()

    def take(self, indices: np.ndarray) -> "ImageSet":
        """The images with these indices."""
        chosen = torch.from_numpy(indices)
        return ImageSet(self.images[chosen], self.targets[chosen])

    def to(self, device: torch.device) -> "ImageSet":
        """The set on `device`."""
        return ImageSet(self.images.to(device), self.targets.to(device))

    def batches(self, indices: Sequence[Tensor], seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The images and classes of each batch; nothing is drawn."""
        for chosen in indices:
            yield self.images[chosen], self.targets[chosen]


class DataFingerprint(NamedTuple):
    """Identifies the data of a run."""

    data: str
    """SHA-256 of the whole data set, before any split: of its arrays, or of its files' names and sizes."""
    indices: str
    """SHA-256 of the indices of the images that are trained and evaluated on."""


class ImageData(NamedTuple):
    """The images on which a run trains and is evaluated."""

    train: Images
    evaluation: Images
    split: Split
    """Whether `evaluation` is the test set or images held out of the training set."""
    checksum: str
    """SHA-256 of the whole data set, before any split (see `DataFingerprint.data`)."""
    indices: str
    """SHA-256 of the indices that are trained and evaluated on."""

    @property
    def fingerprint(self) -> DataFingerprint:
        """Both checksums, as `DataSet.fingerprint` gives them without reading the images."""
        return DataFingerprint(self.checksum, self.indices)


class DataSet:
    """A data set whose arrays fit in memory; a subclass describes it and writes `read`.

    Args:
        train_size: images to train on, a stratified subset (a smaller one lies in a larger); null: all.
        val_size: images held out of the training set, stratified; if not 0 the evaluation is on these and the
            test set is not touched (the paper's protocol for choosing hyper-parameters).
        split_seed: seed of both draws; runs of every `seed` share them unless `resample`.
        padding: pixels of the random crop, for `augment=standard`.
        flip: whether a mirrored image is a likely image, for `augment=standard`.
        imbalance: of a long-tailed training set, how many times as many images its first class has as its
            last one (see `long_tail`); the test set and held-out images keep their shares; null: the set as
            it is.
        resample: whether each seed of a run draws a subset and held-out images of its own, from split_seed
            and seed together.

    Attributes:
        seed: the run's, for `resample` (see `with_seed`).

    Raises:
        ValueError: train_size + val_size above the number of training images, a padding as large as the
            images.
    """

    num_classes: int
    in_channels: int
    image_size: int | None = None
    """Height and width, where all images are square and of one size; networks are tried with it early."""
    train_images: int | None
    """Images in the training set; None where that is known only when it is read."""
    published_images = 0
    """Images in the published training set, where `train_images` is not known."""
    evaluation_batch = 500
    """Images that are evaluated at a time."""
    mean: tuple[float, ...]
    """Mean of each channel, for the normalisation; in units of a pixel, 0 to 255."""
    std: tuple[float, ...]
    classes: Sequence[str] | None = None
    """Name of each class, for pictures; None: they have none."""

    @checked
    def __init__(
        self,
        train_size: PositiveInt | None,
        val_size: NonNegativeInt,
        split_seed: Annotated[int, Field(ge=0, lt=2**32)],
        padding: NonNegativeInt,
        flip: bool,
        imbalance: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None = None,
        resample: bool = False,
    ) -> None:
        self.train_size = train_size
        self.val_size = val_size
        self.split_seed = split_seed
        self.imbalance = imbalance
        self.resample = resample
        self.seed: int | None = None
        if self.train_images is not None:
            self.check_sizes(self.train_images)
        if self.image_size is not None and padding >= self.image_size:
            raise ValueError(f"padding={padding}: should be less than the images' side, {self.image_size}")

    def with_seed(self, seed: int) -> Self:
        """The data set as a run of this seed has it; a different one only where `resample` is true."""
        seeded = copy.copy(self)
        seeded.seed = seed
        return seeded

    def check_sizes(self, train_images: int) -> None:
        """Raises ValueError if `train_images` are too few for the requested sizes."""
        if (self.train_size or 1) + self.val_size > train_images:
            train_size = f" and train_size={self.train_size}" if self.train_size else ""
            raise ValueError(
                f"val_size={self.val_size}{train_size}: too many for the {train_images} images of the "
                f"training set"
            )

    @property
    def train_count(self) -> int | None:
        """Images that a run trains on; None where that is not known yet."""
        if self.train_size is None and self.imbalance is not None:
            return None
        if self.train_size is None and self.train_images is not None:
            return self.train_images - self.val_size
        return self.train_size

    @property
    def expected_count(self) -> int:
        """Images that a run trains on, those of the published set where it is not known yet."""
        count = self.train_count
        return (self.train_images or self.published_images) - self.val_size if count is None else count

    def read(self) -> tuple[ImageSet, ImageSet]:
        """The whole training set and the whole test set.

        Raises:
            UserError: the data set is not there, or not as published.
        """
        raise NotImplementedError

    def load(self) -> ImageData:
        """Reads, checks the labels and splits.

        Raises:
            UserError: the data set cannot be had, has not `train_images` training images, or has a label
                outside 0..num_classes - 1.
        """
        train, test = self.read()
        self._check_sets(train, test)
        chosen, held_out = self.split(train.targets.numpy())
        checksums = checksum_of(train, test), checksum_of_indices(chosen, held_out)
        if self.val_size:
            return ImageData(train.take(chosen), train.take(held_out), "validation", *checksums)
        if len(chosen) < len(train.targets):
            train = train.take(chosen)
        return ImageData(train, test, "test", *checksums)

    def fingerprint(self) -> DataFingerprint | None:
        """The fingerprint of the data that `load` would give; None without data. Downloads nothing.

        This one loads them. A subclass that downloads, or takes long to read, writes its own.

        Raises:
            UserError: the data set is there, but not as published.
        """
        return self.load().fingerprint

    def read_image(self, path: Path) -> Tensor:
        """An image file as the set's own images are, (C, H, W), uint8: grey or RGB, resized to their size.

        This one is for images of one size. It does not turn dark ink on white into the light ink on black
        that the digits have.

        Raises:
            OSError, ValueError, ...: it cannot be read (see `Decoding.read`).
        """
        if self.image_size is None:
            raise ValueError(f"{type(self).__name__} has images of different sizes and no read_image")
        from isda_bench.data.decoding import image_of  # Pillow, which no training on arrays needs

        return image_of(path, self.in_channels, self.image_size)

    def split(self, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sorted indices (training, held out) among the training images, whose classes are `targets` (N,).

        Raises:
            UserError: the long-tailed set has fewer than `train_size` images.
            ValueError: `resample` without the run's seed.
        """
        if self.imbalance is None:
            return split_indices(targets, self.train_size, self.val_size, self._split_seed())
        order = stratified_order(targets, self._split_seed())
        rest = len(order) - self.val_size
        tail = long_tail(order[:rest], targets, self.imbalance)
        if self.train_size is not None and self.train_size > len(tail):
            raise UserError(
                f"dataset.train_size={self.train_size}: the long-tailed set of "
                f"dataset.imbalance={self.imbalance:g} has {len(tail)} images"
            )
        return np.sort(tail[: self.train_size]), np.sort(order[rest:])

    def _split_seed(self) -> Seed:
        if not self.resample:
            return self.split_seed
        if self.seed is None:
            raise ValueError("resample=true: which images these are depends on the run's seed (with_seed)")
        return np.random.SeedSequence([self.split_seed, self.seed])

    def _check_sets(self, train: ImageSet, test: ImageSet) -> None:
        if len(train.targets) != self.train_images:
            raise UserError(f"dataset: {len(train.targets)} training images, should be {self.train_images}")
        for _, targets in (train, test):
            lowest, highest = (int(t) for t in targets.aminmax())
            if lowest < 0 or highest >= self.num_classes:
                raise UserError(
                    f"dataset: labels from {lowest} to {highest}, should lie in 0..{self.num_classes - 1}"
                )


def checksum_of(*sets: ImageSet) -> str:
    """SHA-256 of the images and targets of `sets`, in order."""
    digest = hashlib.sha256()
    for images, targets in sets:
        digest.update(images.numpy().data)
        digest.update(targets.numpy().data)
    return digest.hexdigest()
