"""A user's image files for a trained network."""

import os
from pathlib import Path

import torch

from isda_bench.data.base import DataSet
from isda_bench.data.image_list import EXTENSIONS
from isda_bench.errors import UserError


def image_files(path: Path) -> list[Path]:
    """The image files that `path` is or holds, sub-folders included, sorted; hidden ones are skipped.

    Raises:
        UserError: there is no image.
    """
    if not path.is_dir():
        if not path.is_file():
            raise UserError(f"images={path}: is neither a file nor a folder")
        return [path]
    found = []
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        shown = sorted(name for name in names if not name.startswith("."))
        found += [Path(folder) / name for name in shown if name.lower().endswith(EXTENSIONS)]
    if not found:
        raise UserError(f"images={path}: holds no image; images end in {', '.join(EXTENSIONS)}")
    return found


def read_images(dataset: DataSet, files: list[Path]) -> tuple[list[torch.Tensor], dict[Path, str]]:
    """Images as `dataset.read_image` gives them, and a reason for each file that cannot be read."""
    images, problems = [], {}
    for path in files:
        try:
            images.append(dataset.read_image(path))
        except Exception as error:  # of any class: the file may hold anything
            said = getattr(error, "strerror", None) or str(error) or type(error).__name__
            problems[path] = " ".join(str(said).split())
    return images, problems
