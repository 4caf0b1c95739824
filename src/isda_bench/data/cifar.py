"""CIFAR-10 and CIFAR-100: downloaded and checked by torchvision, kept afterwards as arrays."""

from collections.abc import Sequence
from typing import Any

import torch

from isda_bench.data.base import ImageSet
from isda_bench.data.cifar_classes import CIFAR10_CLASSES, CIFAR100_CLASSES
from isda_bench.data.downloaded import DownloadedDataSet, PublishedFiles


class CIFAR10(DownloadedDataSet):
    """50,000 training and 10,000 test images of 3x32x32 in ten classes (Krizhevsky 2009).

    Args:
        root: folder with torchvision's `cifar-10-batches-py`, or to download it to; relative to the working
            directory. The arrays are kept beside it and read from then on.
        download: whether to download missing files.
        train_size, val_size, split_seed, padding, flip, imbalance, resample: as in `DataSet`.
    """

    torchvision_class = "CIFAR10"
    num_classes = 10
    in_channels = 3
    image_size = 32
    train_images = 50_000
    mean = (125.3, 123.0, 113.9)
    std = (63.0, 62.1, 66.7)
    classes: Sequence[str] = CIFAR10_CLASSES

    def published_files(self) -> PublishedFiles:
        """Torchvision's."""
        published = getattr(_torchvision_datasets(), self.torchvision_class)
        files = dict(published.train_list + published.test_list)
        return PublishedFiles(self.root / published.base_folder, files, published.url, published.filename)

    def read_published(self) -> tuple[ImageSet, ImageSet]:
        """By torchvision, which checks the files before it reads them."""
        build = getattr(_torchvision_datasets(), self.torchvision_class)
        train, test = (build(str(self.root), train=t, download=self.download) for t in (True, False))
        return _as_set(train), _as_set(test)


class CIFAR100(CIFAR10):
    """50,000 training and 10,000 test images of 3x32x32 in a hundred classes (Krizhevsky 2009).

    They are normalised as the reference code does, by CIFAR-10's figures. Arguments as in `CIFAR10`.
    """

    torchvision_class = "CIFAR100"
    num_classes = 100
    classes = CIFAR100_CLASSES


def _torchvision_datasets() -> Any:
    """Imported only where the published files are read: torchvision takes a second."""
    from isda_bench.runtime import torchvision_import as torchvision_import

    # isort: split
    from torchvision import datasets

    return datasets


def _as_set(published: Any) -> ImageSet:
    images = torch.from_numpy(published.data).permute(0, 3, 1, 2).contiguous()
    return ImageSet(images, torch.tensor(published.targets))
