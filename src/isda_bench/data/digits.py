"""The embedded data set: scikit-learn's 1,797 handwritten digits, 8x8, no download."""

import importlib.util
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from pydantic import NonNegativeInt, PositiveInt

from isda_bench.arguments import checked
from isda_bench.data.base import DataSet, ImageSet
from isda_bench.data.splits import split_indices
from isda_bench.errors import UserError

TEST_IMAGES = 360


class Digits(DataSet):
    """Ten classes of 1x8x8 images; 360 of them, stratified and always the same, are the test set.

    Source: Alpaydin and Kaynak 1998, "Optical Recognition of Handwritten Digits" (its test set, as
    `sklearn.datasets.load_digits` gives it). Arguments as in `DataSet`.
    """

    num_classes = 10
    in_channels = 1
    image_size = 8
    train_images = 1797 - TEST_IMAGES
    mean = (77.9,)
    std = (96.0,)
    classes = tuple("0123456789")

    @checked
    def __init__(
        self,
        train_size: PositiveInt | None = None,
        val_size: NonNegativeInt = 0,
        split_seed: NonNegativeInt = 0,
        padding: NonNegativeInt = 1,
        flip: bool = False,
        imbalance: float | None = None,
        resample: bool = False,
    ) -> None:
        super().__init__(train_size, val_size, split_seed, padding, flip, imbalance, resample)

    def read(self) -> tuple[ImageSet, ImageSet]:
        """The 1,437 training and 360 test images; grey levels 0..16 become 0..255."""
        table = _scikit_learns_table()
        pixels = np.rint(table[:, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
        targets = table[:, -1].astype(np.int64)
        everything = ImageSet(torch.from_numpy(pixels), torch.from_numpy(targets))
        train, test = split_indices(targets, None, TEST_IMAGES, seed=0)
        return everything.take(train), everything.take(test)


@lru_cache(maxsize=1)  # a grid of finished runs asks for the checksum of each
def _scikit_learns_table() -> np.ndarray:
    """64 grey levels and the class of each image, (1797, 65): what `sklearn.datasets.load_digits` reads.

    Read without importing scikit-learn, which takes longer than the demo's first epochs.
    """
    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        raise UserError("dataset=digits needs scikit-learn, whose digits these are: pip install scikit-learn")
    return np.loadtxt(Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",")
