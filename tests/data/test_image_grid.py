import numpy as np
import pytest
import torch
from PIL import Image

from isda_bench.data.cifar import CIFAR10, CIFAR100
from isda_bench.data.digits import Digits
from isda_bench.data.image_folder import ImageFolder
from isda_bench.data.image_grid import GAP, ZOOM, augmentation_grid, captioned, captions, write_grid
from isda_bench.data.loader import MixedBatch
from isda_bench.data.svhn import SVHN


def test_each_row_shows_an_image_and_its_augmentations(tmp_path):
    images = torch.randint(256, (2, 3, 8, 6), dtype=torch.uint8)
    path = tmp_path / "new" / "grid.png"
    write_grid(path, augmentation_grid(images, lambda batch: 255 - batch, draws=3))
    picture = np.asarray(Image.open(path))[::ZOOM, ::ZOOM, :3]
    assert picture.shape == (2 * (8 + GAP), 4 * (6 + GAP), 3)
    for i, image in enumerate(images):
        row = picture[i * (8 + GAP) :]
        assert np.array_equal(row[:8, :6], image.permute(1, 2, 0))
        for column in (1, 2, 3):
            shown = row[:8, column * (6 + GAP) :][:, :6]
            assert np.array_equal(shown, 255 - image.permute(1, 2, 0).numpy())


def test_grey_images_are_shown_in_grey():
    picture = augmentation_grid(torch.randint(256, (1, 1, 8, 8), dtype=torch.uint8), lambda batch: batch, 1)
    assert picture.shape[2] == 3 and (picture[..., 0] == picture[..., 2]).all()


def test_captions_name_the_classes_and_both_of_a_mixed_image():
    images, targets = torch.zeros(2, 1, 8, 8), torch.tensor([1, 0])
    assert captions((images, targets), ("cat", "dog")) == ["dog", "cat"]
    assert captions((images, targets), None) == ["1", "0"]
    mixed = MixedBatch(images, targets, torch.tensor([0, 0]), torch.tensor([0.7, 1.0]))
    assert captions(mixed, ("cat", "dog")) == ["70% dog, cat", "100% cat, cat"]


def test_a_caption_stays_below_its_image():
    images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    short, long = (
        captioned(images, [name, ""]) for name in ("dog", "an extraordinarily long name of a class")
    )
    assert short.shape == long.shape and not np.array_equal(short, long)
    half = short.shape[1] // 2 + 3
    assert np.array_equal(short[:, half:], long[:, half:]), "the neighbour's place is its own"


@pytest.mark.parametrize("kind", [Digits, SVHN, CIFAR10, CIFAR100])
def test_data_sets_name_their_classes(kind):
    assert len(set(kind.classes)) == kind.num_classes


def test_classes_of_a_folder_are_its_folders(tmp_path):
    for name in ("ant", "bee"):
        (tmp_path / "train" / name).mkdir(parents=True)
    assert ImageFolder(root=str(tmp_path)).classes == ["ant", "bee"]
