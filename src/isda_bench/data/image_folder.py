"""A user's own images: one sub-folder a class below train/ and val/."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveInt
from torch import Tensor

from isda_bench.arguments import checked
from isda_bench.data.base import DataFingerprint, DataSet, ImageData, Images
from isda_bench.data.decoding import Conversion, Decoding
from isda_bench.data.image_files import Crop, ImageFiles
from isda_bench.data.image_list import ImageList, checksum_of_files, classes_of, list_images
from isda_bench.data.splits import checksum_of_indices
from isda_bench.errors import UserError

IN_MEMORY = 2 * 2**30
"""Bytes that the resized images, training and evaluation, may have to be kept in memory by default."""
Figure = Annotated[float, Field(ge=0, le=255)]
PositiveFigure = Annotated[float, Field(gt=0, le=255)]
_as_list = BeforeValidator(  # Hydra's lists are of a class of its own
    lambda given: list(given) if isinstance(given, Sequence) and not isinstance(given, str) else given
)
_three = Field(min_length=3, max_length=3)
Figures = Annotated[list[Figure], _as_list, _three]
PositiveFigures = Annotated[list[PositiveFigure], _as_list, _three]
IMAGENET_MEAN = [123.675, 116.28, 103.53]
IMAGENET_STD = [58.395, 57.12, 57.375]


class ImageFolder(DataSet):
    """Images of any size, <root>/train/<class>/* and <root>/val/<class>/*, sub-folders included.

    Each image is resized and cut to its centre, or to a random part; the flip and the crop by some pixels are
    those of `augment=standard`. The EXIF orientation of photographs is followed. Hidden files, and files
    that are no images by their names, are not listed (`image_list.list_images`); training images that cannot
    be read are left out and counted in the record, evaluation images that cannot be read are an error.

    Args:
        root: the folder.
        num_classes: classes that it should have; null: as many as there are.
        image_size: side of the images that the network is given, in pixels.
        resize: length to which the shorter side is resized before the centre is cut out, in pixels.
        random_crop: whether training images are instead random crops of 8 to 100% of an image's area.
        in_memory: whether the resized images are kept in memory; null: where they take less than `IN_MEMORY`
            and the crop is not random. It does not change the images.
        mean, std: of the red, green and blue channel, for the normalisation, 0 to 255; the defaults are
            ImageNet's, as most of timm's networks had them.
        workers: processes that read, for each rank; null: the machine's cores, shared by its ranks.
        unreadable_limit: training images that are left out where they cannot be read; one more is an error.
        decoding: how the pixels of a file become 8-bit RGB (see `Decoding`).
        exif: whether the EXIF orientation is followed.
        train_size, val_size, split_seed, padding, flip, imbalance, resample: as in `DataSet`. With `val_size`
            the folder val/ is not needed.

    Raises:
        ValueError: a `resize` below the `image_size`, or random crops in memory.
    """

    in_channels = 3
    train_images = None
    evaluation_batch = 250

    @checked
    def __init__(
        self,
        root: Annotated[str, Field(min_length=1)] = "data/images",
        num_classes: PositiveInt | None = None,
        image_size: PositiveInt = 224,
        resize: PositiveInt = 256,
        random_crop: bool = False,
        in_memory: bool | None = None,
        mean: Figures = IMAGENET_MEAN,
        std: PositiveFigures = IMAGENET_STD,
        workers: NonNegativeInt | None = None,
        unreadable_limit: NonNegativeInt = 10,
        decoding: Conversion = "viewer",
        exif: bool = True,
        train_size: PositiveInt | None = None,
        val_size: NonNegativeInt = 0,
        split_seed: NonNegativeInt = 0,
        padding: NonNegativeInt = 4,
        flip: bool = True,
        imbalance: float | None = None,
        resample: bool = False,
    ) -> None:
        if resize < image_size:
            raise ValueError(f"resize={resize}: should be at least the image_size, {image_size}")
        if in_memory and random_crop:
            raise ValueError("in_memory=true: random crops are cut out of the files; leave random_crop=false")
        self.root = Path(root).expanduser()
        self.expected_classes = num_classes
        self.image_size = image_size
        self.crop = Crop(image_size, resize, random_crop)
        self.in_memory = in_memory
        self.mean = (mean[0], mean[1], mean[2])
        self.std = (std[0], std[1], std[2])
        self.workers = workers
        self.unreadable_limit = unreadable_limit
        self.decoding = Decoding(decoding, exif)
        super().__init__(train_size, val_size, split_seed, padding, flip, imbalance, resample)

    @property
    def num_classes(self) -> int:  # type: ignore[override]
        """The requested number of classes, else that of train/.

        Raises:
            UserError: they are to be counted, and there is no such folder.
        """
        return self.expected_classes or len(classes_of(self.root / "train"))

    @property
    def classes(self) -> list[str]:  # type: ignore[override]
        """Names of the folders of train/.

        Raises:
            UserError: there is no such folder.
        """
        return classes_of(self.root / "train")

    def load(self) -> ImageData:
        """Lists the images and splits them; they are read into memory, or later by the batch.

        Raises:
            UserError: a folder is missing or empty, the classes are not `num_classes` or differ between train
                and val, the training images are fewer than wanted, or an evaluation image has no content.
        """
        train, test = self._listed()
        chosen, held_out = self._chosen(train)
        training = self._read(train, chosen, evaluated=False)
        fingerprint = self._fingerprint(train, test, chosen, held_out)
        if self.val_size or test is None:
            held = self._read(train, held_out, evaluated=True)
            return ImageData(training, held, "validation", *fingerprint)
        tested = self._read(test, np.arange(len(test.targets)), evaluated=True)
        return ImageData(training, tested, "test", *fingerprint)

    def fingerprint(self) -> DataFingerprint | None:
        """The fingerprint of the data, by the names and sizes of the files; None without the folder."""
        if not self.root.is_dir():
            return None
        train, test = self._listed()
        return self._fingerprint(train, test, *self._chosen(train))

    def read_image(self, path: Path) -> Tensor:
        """An image file prepared as for the evaluation, (3, H, W), uint8: decoded, resized, its centre.

        Raises:
            OSError, ValueError, ...: it cannot be read (see `Decoding.read`).
        """
        pixels = np.array(self.crop._replace(random=False)(self.decoding.read(path), seed=0))
        return torch.from_numpy(pixels).permute(2, 0, 1)

    def _chosen(self, train: ImageList) -> tuple[np.ndarray, np.ndarray]:
        try:
            self.check_sizes(len(train.targets))
        except ValueError as error:
            raise UserError(f"dataset.{error}") from error
        return self.split(train.targets)

    def _listed(self) -> tuple[ImageList, ImageList | None]:
        """The images of train/ and val/; the second is None where it is neither there nor needed."""
        train = self._list("train")
        if self.val_size and not (self.root / "val").is_dir():
            return train, None
        test = self._list("val")
        if train.classes != test.classes:
            different = sorted(set(train.classes) ^ set(test.classes))
            raise UserError(
                f"dataset.root={self.root}: train and val should have the same classes; "
                f"{', '.join(different[:5])} {'...' if len(different) > 5 else ''} not in both"
            )
        return train, test

    def _list(self, part: str) -> ImageList:
        root = self.root / part
        if not root.is_dir():
            raise UserError(
                f"dataset.root={self.root}: there is no folder {root}; it should hold train/<class>/* and "
                f"val/<class>/*"
            )
        images = list_images(root)
        if self.expected_classes is not None and len(images.classes) != self.expected_classes:
            raise UserError(
                f"dataset.root={self.root}: {root} has {len(images.classes)} classes, "
                f"should be dataset.num_classes={self.expected_classes}"
            )
        return images

    @staticmethod
    def _fingerprint(
        train: ImageList, test: ImageList | None, chosen: np.ndarray, held_out: np.ndarray
    ) -> DataFingerprint:
        parts = {"train": train} if test is None else {"train": train, "val": test}
        return DataFingerprint(checksum_of_files(**parts), checksum_of_indices(chosen, held_out))

    def _read(self, images: ImageList, indices: np.ndarray, evaluated: bool) -> Images:
        """The images with these indices: in their files, or in memory."""
        chosen = images.take(indices)
        if evaluated and chosen.unreadable:
            raise UserError(
                f"dataset.root: {chosen.root / chosen.unreadable[0]}: is empty or a link to nothing; images "
                f"that are evaluated are never left out ({len(chosen.unreadable)} such files)"
            )
        crop = self.crop._replace(random=self.crop.random and not evaluated)
        limit = None if evaluated else self.unreadable_limit
        files = ImageFiles(
            chosen.root, chosen.paths, chosen.targets, crop, self.workers, limit, self.decoding
        )
        in_memory = self._fits(len(indices)) if self.in_memory is None else self.in_memory
        return files.read() if in_memory else files

    def _fits(self, count: int) -> bool:
        """Whether so many images are kept in memory by default."""
        return not self.crop.random and 3 * self.crop.size**2 * count < IN_MEMORY
