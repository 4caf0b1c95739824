"""A folder of JPEGs, read by us and by torchvision's ImageFolder with its transforms."""

import isda_bench.runtime.torchvision_import  # noqa: F401  # isort: skip

import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from isda_bench.benchmarks.timing import medians
from isda_bench.data.augment import Standard
from isda_bench.data.imagenet import ImageNet
from isda_bench.data.loader import Loader, Normalise, evaluation_loader

IMAGES, CLASSES, BATCH = 512, 8, 64
SIZES = [(500, 375), (375, 500), (500, 333), (640, 480)]  # width, height; ImageNet's mean is 400 x 350


def image_folder_rows(device: torch.device, rounds: int = 5) -> list[dict[str, Any]]:
    """Images/s from files to normalised batches, for training and evaluation, with equally many workers.

    Args:
        device: where our batches go; torchvision's stay on the CPU.
        rounds: epochs of each that count.

    Returns:
        Rows of part, workers, torchvision's and our images_per_second, and ours over torchvision's.
    """
    workers = min(4, len(os.sched_getaffinity(0)))
    with TemporaryDirectory() as folder:
        _write_images(Path(folder))
        ours, theirs = _our_loaders(folder, workers, device), _torchvisions_loaders(folder, workers)
        rows = []
        for part in ours:
            seconds = medians(
                {"ours": partial(_read, ours[part]), "torchvision": partial(_read, theirs[part])}, rounds
            )
            rows.append(
                {
                    "part": part,
                    "workers": workers,
                    "torchvision_images_per_second": IMAGES / seconds["torchvision"],
                    "images_per_second": IMAGES / seconds["ours"],
                    "over_torchvision": seconds["torchvision"] / seconds["ours"],
                }
            )
    return rows


def _read(batches: Iterable[Any]) -> None:
    for _ in batches:
        pass


def _write_images(root: Path) -> None:
    """JPEGs smooth as photographs, with some grain; the same for training and evaluation."""
    draws = np.random.default_rng(0)
    for i in range(IMAGES):
        width, height = SIZES[i % len(SIZES)]
        coarse = draws.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), int)
        grainy = (smooth + draws.integers(-12, 13, smooth.shape)).clip(0, 255).astype(np.uint8)
        for part in ("train", "val"):
            folder = root / part / str(i % CLASSES)
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(grainy).save(folder / f"{i}.JPEG", quality=90)


def _our_loaders(root: str, workers: int, device: torch.device) -> dict[str, Iterable[Any]]:
    dataset = ImageNet(root=root, num_classes=CLASSES, workers=workers)
    data = dataset.load()
    normalise = Normalise(dataset.mean, dataset.std, device)
    training = Loader(data.train, BATCH, device, [Standard(padding=0, flip=True), normalise], True)
    dataset.evaluation_batch = BATCH
    return {"training": training, "evaluation": evaluation_loader(data.evaluation, dataset, device)}


def _torchvisions_loaders(root: str, workers: int) -> dict[str, Iterable[Any]]:
    last: list[Callable[[Any], Any]] = [
        transforms.ToTensor(),
        transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ]
    first = {
        "training": [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip()],
        "evaluation": [transforms.Resize(256), transforms.CenterCrop(224)],
    }
    folders = {"training": "train", "evaluation": "val"}
    return {
        part: DataLoader(
            ImageFolder(f"{root}/{folders[part]}", transforms.Compose([*first[part], *last])),
            BATCH,
            shuffle=part == "training",
            num_workers=workers,
            persistent_workers=True,
        )
        for part in first
    }
