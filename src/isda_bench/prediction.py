"""What a trained network says about image files."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from isda_bench.data.base import DataSet
from isda_bench.data.image_list import EXTENSIONS
from isda_bench.data.loader import Normalise
from isda_bench.errors import UserError
from isda_bench.models.base import Classifier

BATCH = 64  # images that are read at a time


class Prediction(NamedTuple):
    """The likeliest classes of an image.

    Attributes:
        path: of the file.
        classes: numbers of the classes, likeliest first.
        probabilities: of each of them, softmax of the logits.
        problem: why the file cannot be read; empty where it can: then there are no classes.
    """

    path: Path
    classes: tuple[int, ...]
    probabilities: tuple[float, ...]
    problem: str = ""


def image_files(path: Path) -> list[Path]:
    """The image files that `path` is or holds, sub-folders included, sorted; hidden ones are left out.

    Raises:
        UserError: there is none.
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


@torch.no_grad()
def predict(
    model: Classifier,
    dataset: DataSet,
    files: list[Path],
    top: int = 1,
    device: torch.device | None = None,
    bf16: bool = False,
) -> Iterator[Prediction]:
    """Each file's likeliest classes, in the files' order; the model runs as it does when it is evaluated.

    Args:
        model: on `device`, in evaluation mode.
        dataset: of the training: its `read_image` and normalisation make the network's input.
        files: the images.
        top: classes of each; a data set may have fewer.
        device: of the computation; null: the CPU.
        bf16: whether the network runs under bfloat16 autocast, as in its training.
    """
    device = device or torch.device("cpu")
    normalise = Normalise(dataset.mean, dataset.std, device)
    for start in range(0, len(files), BATCH):
        images, problems = _read(dataset, files[start : start + BATCH])
        ranked: Iterator[tuple[list[int], list[float]]] = iter(())
        if images:
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                logits = model(normalise(torch.stack(images).to(device)))
            best = logits.float().softmax(1).topk(min(top, logits.shape[1]))
            ranked = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        for path in files[start : start + BATCH]:
            if path in problems:
                yield Prediction(path, (), (), problems[path])
            else:
                classes, probabilities = next(ranked)
                yield Prediction(path, tuple(classes), tuple(probabilities))


def _read(dataset: DataSet, files: list[Path]) -> tuple[list[torch.Tensor], dict[Path, str]]:
    """The images that can be read, and a reason for each of the others."""
    images, problems = [], {}
    for path in files:
        try:
            images.append(dataset.read_image(path))
        except Exception as error:  # of any class: the file may hold anything
            said = getattr(error, "strerror", None) or str(error) or type(error).__name__
            problems[path] = " ".join(str(said).split())
    return images, problems
