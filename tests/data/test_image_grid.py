import numpy as np
import torch
from PIL import Image

from isda_bench.data.image_grid import GAP, ZOOM, augmentation_grid, write_grid


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
