"""SVHN: downloaded and checked by torchvision, kept afterwards as arrays."""

from typing import Annotated, Any

import torch
from pydantic import Field, NonNegativeInt, PositiveInt

from isda_bench.arguments import checked
from isda_bench.data.base import ImageSet
from isda_bench.data.downloaded import DownloadedDataSet, PublishedFiles


class SVHN(DownloadedDataSet):
    """73,257 training and 26,032 test images of 3x32x32, house numbers' digits (Netzer et al. 2011).

    The 531,131 further training images of the authors are left out. Class c is the digit c; the normalisation
    is by the training images' own figures.

    Args:
        root: folder with `train_32x32.mat` and `test_32x32.mat`, or to download them to; relative to the
            working directory. The arrays are kept beside them and read from then on.
        download: whether to download missing files.
        train_size, val_size, split_seed, padding, flip, imbalance, resample: as in `DataSet`. Images
            are not flipped by default: few digits are digits in a mirror.
    """

    num_classes = 10
    in_channels = 3
    image_size = 32
    train_images = 73_257
    mean = (111.6, 113.2, 120.6)
    std = (50.5, 51.3, 50.2)
    classes = tuple("0123456789")

    @checked
    def __init__(
        self,
        root: Annotated[str, Field(min_length=1)] = "data",
        download: bool = True,
        train_size: PositiveInt | None = None,
        val_size: NonNegativeInt = 0,
        split_seed: NonNegativeInt = 0,
        padding: NonNegativeInt = 4,
        flip: bool = False,
        imbalance: float | None = None,
        resample: bool = False,
    ) -> None:
        super().__init__(root, download, train_size, val_size, split_seed, padding, flip, imbalance, resample)

    def published_files(self) -> PublishedFiles:
        """torchvision's, less the further images."""
        parts = [_torchvision_class().split_list[part] for part in ("train", "test")]
        url = parts[0][0].rpartition("/")[0] + "/"
        checksums = {name: md5 for _, name, md5 in parts}
        return PublishedFiles(self.root, checksums, url, " and ".join(checksums))

    def read_published(self) -> tuple[ImageSet, ImageSet]:
        """By torchvision, which checks the files before it reads them."""
        build = _torchvision_class()
        train, test = (build(str(self.root), split=s, download=self.download) for s in ("train", "test"))
        return _as_set(train), _as_set(test)


def _torchvision_class() -> Any:
    """Imported only where the published files are read: torchvision takes a second."""
    from isda_bench.runtime import torchvision_import  # noqa: F401

    # isort: split
    from torchvision.datasets import SVHN

    return SVHN


def _as_set(published: Any) -> ImageSet:
    return ImageSet(
        torch.from_numpy(published.data).contiguous(),
        torch.from_numpy(published.labels.astype("int64")),
    )
