"""ImageNet, or any folder of its shape: one sub-folder a class below train/ and val/."""

import isda_bench.runtime.torchvision_import  # noqa: F401  # isort: skip

import hashlib
import os
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt
from torchvision.datasets import ImageFolder

from isda_bench.arguments import checked
from isda_bench.data.base import DataSet, ImageData, split_indices
from isda_bench.data.image_files import Crop, ImageFiles
from isda_bench.errors import UserError


class ImageNet(DataSet):
    """Images of any size in torchvision's folders, <root>/train/<class>/* and <root>/val/<class>/*.

    Worker processes read them. A training image is a random crop of 8 to 100% of its area, resized; the flip
    is that of `augment=standard`. For evaluation it is the centre of the resized image.

    Args:
        root: the folder.
        num_classes: classes that it should have.
        image_size: side of the images that the network is given.
        resize: length to which the shorter side is resized before the centre is cut out for evaluation.
        random_crop: whether training images are random crops; else the centre, as for evaluation.
        workers: processes that read, for each rank; null: the machine's cores, shared by its ranks.
        unreadable_limit: images that are left out where they cannot be read; one more is an error.
        train_size, val_size, split_seed, padding, flip: as in `DataSet`. The padding is that of CIFAR's
            augmentations, which come after the crop.

    Raises:
        ValueError: a `resize` below the `image_size`.
    """

    in_channels = 3
    train_images = None
    published_images = 1_281_167
    evaluation_batch = 250
    mean = (123.675, 116.28, 103.53)
    std = (58.395, 57.12, 57.375)

    @checked
    def __init__(
        self,
        root: Annotated[str, Field(min_length=1)] = "data/imagenet",
        num_classes: PositiveInt = 1000,
        image_size: PositiveInt = 224,
        resize: PositiveInt = 256,
        random_crop: bool = True,
        workers: NonNegativeInt | None = None,
        unreadable_limit: NonNegativeInt = 10,
        train_size: PositiveInt | None = None,
        val_size: NonNegativeInt = 0,
        split_seed: NonNegativeInt = 0,
        padding: NonNegativeInt = 0,
        flip: bool = True,
    ) -> None:
        if resize < image_size:
            raise ValueError(f"resize={resize}: should be at least the image_size, {image_size}")
        self.root = Path(root).expanduser()
        self.num_classes = num_classes
        self.image_size = image_size
        self.crop = Crop(image_size, resize, random_crop)
        self.workers = workers
        self.unreadable_limit = unreadable_limit
        super().__init__(train_size, val_size, split_seed, padding, flip)

    def load(self) -> ImageData:
        """Lists the images and splits them; none is read yet. The checksum is that of the list.

        Raises:
            UserError: a folder is missing or empty, the classes are not `num_classes` or differ between train
                and val, or the training images are fewer than wanted.
        """
        train, train_classes = self._list("train")
        test, test_classes = self._list("val")
        if train_classes != test_classes:
            different = sorted(set(train_classes) ^ set(test_classes))
            raise UserError(
                f"dataset.root={self.root}: train and val should have the same classes; "
                f"{', '.join(different[:5])} {'...' if len(different) > 5 else ''} not in both"
            )
        try:
            self.check_sizes(len(train.labels))
        except ValueError as error:
            raise UserError(f"dataset.{error}") from error
        chosen, held_out = split_indices(train.labels, self.train_size, self.val_size, self.split_seed)
        training = train.take(chosen, random=self.crop.random)
        checksum = hashlib.sha256(b"\0".join([*train.paths, *test.paths])).hexdigest()
        if self.val_size:
            return ImageData(training, train.take(held_out, random=False), "validation", checksum)
        return ImageData(training, test, "test", checksum)

    def _list(self, part: str) -> tuple[ImageFiles, list[str]]:
        """The images of one folder, with the centre's crop, and the classes' names."""
        root = self.root / part
        if not root.is_dir():
            raise UserError(
                f"dataset.root={self.root}: there is no folder {root}; it should hold train/<class>/* and "
                f"val/<class>/*"
            )
        try:
            folder = ImageFolder(str(root))
        except OSError as error:  # no class, or one without images
            raise UserError(f"dataset.root={self.root}: {root}: {' '.join(str(error).split())}") from error
        if len(folder.classes) != self.num_classes:
            raise UserError(
                f"dataset.root={self.root}: {root} has {len(folder.classes)} classes, "
                f"should be dataset.num_classes={self.num_classes}"
            )
        start = len(os.fsencode(root)) + 1
        paths = np.array([os.fsencode(path)[start:] for path, _ in folder.samples])
        targets = np.array(folder.targets, dtype=np.int64)
        crop = self.crop._replace(random=False)
        return ImageFiles(root, paths, targets, crop, self.workers, self.unreadable_limit), folder.classes
