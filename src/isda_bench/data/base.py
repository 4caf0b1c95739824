"""What a data set gives: arrays of images, split into training and evaluation."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal, NamedTuple, Protocol

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor

from isda_bench.arguments import checked
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

    def to(self, device: torch.device) -> "Images":
        """The set, to give batches on `device`."""

    def batches(self, indices: Sequence[Tensor], seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """For each tensor of indices (n,) the images (n, C, H, W), uint8, and their classes (n,).

        Args:
            indices: a tensor a batch.
            seed: with an image's index it decides what is drawn for it.
        """


class ImageSet(NamedTuple):
    """Images (N, C, H, W), uint8, and their classes (N,), int64, in memory."""

    images: Tensor
    targets: Tensor

    @property
    def random(self) -> bool:
        """False: the images are read as they are."""
        return False

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


class ImageData(NamedTuple):
    """What a run trains on and is evaluated on."""

    train: Images
    evaluation: Images
    split: Split
    """Whether `evaluation` is the test set or images held out of the training set."""
    checksum: str
    """SHA-256 of the whole data set as read, before any split."""


class DataSet:
    """A data set whose arrays fit in memory; a subclass says what is in it and writes `read`.

    Args:
        train_size: images to train on, a stratified subset (a smaller one lies in a larger); null: all.
        val_size: images held out of the training set, stratified; if not 0 the evaluation is on these and the
            test set is not touched (the paper's protocol for choosing hyper-parameters).
        split_seed: seed of both draws; runs of every `seed` share them.
        padding: pixels of the random crop, for `augment=standard`.
        flip: whether a mirrored image is a likely image, for `augment=standard`.

    Raises:
        ValueError: train_size + val_size above the number of training images, a padding as large as the
            images.
    """

    num_classes: int
    in_channels: int
    image_size: int | None = None
    """Height and width, where all images are square and of one size: what does not fit them is told early."""
    train_images: int | None
    """Images in the training set; None where that is known only when it is read."""
    published_images = 0
    """Likewise, of the published set, where `train_images` is not known."""
    evaluation_batch = 500
    """Images that are evaluated at a time."""
    mean: tuple[float, ...]
    """Mean of each channel, for the normalisation; in units of a pixel, 0 to 255."""
    std: tuple[float, ...]

    @checked
    def __init__(
        self,
        train_size: PositiveInt | None,
        val_size: NonNegativeInt,
        split_seed: Annotated[int, Field(ge=0, lt=2**32)],
        padding: NonNegativeInt,
        flip: bool,
    ) -> None:
        self.train_size = train_size
        self.val_size = val_size
        self.split_seed = split_seed
        if self.train_images is not None:
            self.check_sizes(self.train_images)
        if self.image_size is not None and padding >= self.image_size:
            raise ValueError(f"padding={padding}: should be less than the images' side, {self.image_size}")

    def check_sizes(self, train_images: int) -> None:
        """Raises ValueError if the set of `train_images` has not the images that are wanted of it."""
        if (self.train_size or 1) + self.val_size > train_images:
            train_size = f" and train_size={self.train_size}" if self.train_size else ""
            raise ValueError(
                f"val_size={self.val_size}{train_size}: too many for the {train_images} images of the "
                f"training set"
            )

    @property
    def train_count(self) -> int | None:
        """Images that a run trains on; None where that is not known yet."""
        if self.train_size is None and self.train_images is not None:
            return self.train_images - self.val_size
        return self.train_size

    @property
    def expected_count(self) -> int:
        """Images that a run trains on, those of the published set where it is not known yet."""
        count = self.train_count
        return self.published_images - self.val_size if count is None else count

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
        chosen, held_out = split_indices(
            train.targets.numpy(), self.train_size, self.val_size, self.split_seed
        )
        checksum = checksum_of(train, test)
        if self.val_size:
            return ImageData(train.take(chosen), train.take(held_out), "validation", checksum)
        if self.train_size is not None:
            train = train.take(chosen)
        return ImageData(train, test, "test", checksum)

    def _check_sets(self, train: ImageSet, test: ImageSet) -> None:
        if len(train.targets) != self.train_images:
            raise UserError(f"dataset: {len(train.targets)} training images, should be {self.train_images}")
        for _, targets in (train, test):
            lowest, highest = (int(t) for t in targets.aminmax())
            if lowest < 0 or highest >= self.num_classes:
                raise UserError(
                    f"dataset: labels from {lowest} to {highest}, should lie in 0..{self.num_classes - 1}"
                )


def split_indices(
    targets: np.ndarray, train_size: int | None, val_size: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sorted indices (training, validation), disjoint and stratified.

    The training images are the first of `stratified_order`, the validation images its last, so that the
    subset of a smaller size lies in that of a larger one.
    """
    order = stratified_order(targets, seed)
    rest = len(order) - val_size
    return np.sort(order[: rest if train_size is None else train_size]), np.sort(order[rest:])


def stratified_order(targets: np.ndarray, seed: int) -> np.ndarray:
    """All indices, shuffled so that every beginning and every end has each class in its share.

    The k-th of a class of n images, from 0, comes at (k + 1/2) / n of the way (Webster's method). Shares by
    the largest remainder would not do: there a class can lose an image when the subset grows.
    """
    generator = np.random.default_rng(seed)
    classes = [generator.permutation(np.flatnonzero(targets == c)) for c in np.unique(targets)]
    places = np.concatenate([(np.arange(len(indices)) + 0.5) / len(indices) for indices in classes])
    return np.concatenate(classes)[np.argsort(places, kind="stable")]


def checksum_of(*sets: ImageSet) -> str:
    """SHA-256 of the images and targets of `sets`, in order."""
    digest = hashlib.sha256()
    for images, targets in sets:
        digest.update(images.numpy().data)
        digest.update(targets.numpy().data)
    return digest.hexdigest()
