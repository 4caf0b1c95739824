"""What a data set gives: arrays of images, split into training and evaluation."""

import hashlib
from typing import Annotated, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor

from isda_bench.arguments import checked
from isda_bench.errors import UserError

Split = Literal["test", "validation"]


class ImageSet(NamedTuple):
    """Images (N, C, H, W), uint8, and their classes (N,), int64."""

    images: Tensor
    targets: Tensor

    def take(self, indices: np.ndarray) -> "ImageSet":
        """The images with these indices."""
        chosen = torch.from_numpy(indices)
        return ImageSet(self.images[chosen], self.targets[chosen])


class ImageData(NamedTuple):
    """What a run trains on and is evaluated on."""

    train: ImageSet
    evaluation: ImageSet
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
        ValueError: train_size + val_size above the number of training images.
    """

    num_classes: int
    in_channels: int
    train_images: int
    """Images in the training set."""
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
        if (train_size or 1) + val_size > self.train_images:
            raise ValueError(
                f"train_size={train_size} and val_size={val_size} take more than the "
                f"{self.train_images} images of the training set"
            )
        self.train_size = train_size
        self.val_size = val_size
        self.split_seed = split_seed

    @property
    def train_count(self) -> int:
        """Images that a run trains on."""
        return self.train_size or self.train_images - self.val_size

    def read(self) -> tuple[ImageSet, ImageSet]:
        """The whole training set and the whole test set.

        Raises:
            UserError: the data set is not there, or not as published.
        """
        raise NotImplementedError

    def load(self) -> ImageData:
        """Reads, checks the labels and splits.

        Raises:
            UserError: the data set cannot be had, or a label is outside 0..num_classes - 1.
        """
        train, test = self.read()
        self._check_labels(train, test)
        chosen, held_out = split_indices(
            train.targets.numpy(), self.train_size, self.val_size, self.split_seed
        )
        checksum = checksum_of(train, test)
        if self.val_size:
            return ImageData(train.take(chosen), train.take(held_out), "validation", checksum)
        if self.train_size is not None:
            train = train.take(chosen)
        return ImageData(train, test, "test", checksum)

    def _check_labels(self, *sets: ImageSet) -> None:
        for _, targets in sets:
            lowest, highest = (int(t) for t in targets.aminmax())
            if lowest < 0 or highest >= self.num_classes:
                raise UserError(
                    f"dataset: labels from {lowest} to {highest}, should lie in 0..{self.num_classes - 1}"
                )


def split_indices(
    targets: np.ndarray, train_size: int | None, val_size: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sorted indices (training, validation), disjoint and stratified.

    Every class is shuffled once; the validation images come from its end, the training images from its
    beginning, so that the subset of a smaller `train_size` lies in that of a larger one.
    """
    generator = np.random.default_rng(seed)
    classes = np.unique(targets)
    shuffled = [generator.permutation(np.flatnonzero(targets == c)) for c in classes]
    sizes = np.array([len(indices) for indices in shuffled])
    held_out = _shares(sizes, val_size)
    left = sizes - held_out
    kept = left if train_size is None else _shares(left, train_size)
    training = [indices[:k] for indices, k in zip(shuffled, kept, strict=True)]
    validation = [indices[len(indices) - k :] for indices, k in zip(shuffled, held_out, strict=True)]
    return np.sort(np.concatenate(training)), np.sort(np.concatenate(validation))


def _shares(sizes: np.ndarray, total: int) -> np.ndarray:
    """`total` shared out in proportion to `sizes`, whole numbers by the largest remainder."""
    exact = sizes * (total / sizes.sum())
    shares = np.floor(exact).astype(np.int64)
    most_wanting = np.argsort(shares - exact, kind="stable")
    shares[most_wanting[: total - shares.sum()]] += 1
    return shares


def checksum_of(*sets: ImageSet) -> str:
    """SHA-256 of the images and targets of `sets`, in order."""
    digest = hashlib.sha256()
    for images, targets in sets:
        digest.update(images.numpy().data)
        digest.update(targets.numpy().data)
    return digest.hexdigest()
