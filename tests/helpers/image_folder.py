"""A small folder of JPEGs of the shape of ImageNet: odd sizes, greyscale, CMYK, tiny and very long ones."""

from pathlib import Path

import numpy as np
from PIL import Image

SIZES = [(37, 53), (64, 48), (41, 41), (7, 5), (90, 33), (3, 200)]  # width, height
MODES = ["RGB", "RGB", "L", "CMYK"]


def make_image_folder(root: Path, classes: int = 40, train: int = 3, val: int = 1) -> Path:
    """Writes <root>/train and <root>/val with so many images of each class, whose colours tell the class."""
    draws = np.random.default_rng(0)
    for part, images in (("train", train), ("val", val)):
        for c in range(classes):
            folder = root / part / f"n{c:08d}"
            folder.mkdir(parents=True)
            for i in range(images):
                width, height = SIZES[(c + i) % len(SIZES)]
                noise = draws.integers(0, 96, (height, width, 3))
                colour = np.array([c % 4, c // 4 % 4, c // 16]) * 40
                image = Image.fromarray((noise + colour).astype(np.uint8))
                image.convert(MODES[(c + i) % len(MODES)]).save(folder / f"{c}_{i}.JPEG", quality=90)
    return root
