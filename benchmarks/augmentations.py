"""Throughput of the augmentations, beside torchvision's PIL path."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor

from isda_bench.runtime import torchvision_import as torchvision_import  # isort: skip
from torchvision import transforms
from torchvision.transforms.functional import to_pil_image

from isda_bench.benchmarks.timing import medians
from isda_bench.config.run_config import CONF

BATCH = 128


def augmentation_rows(device: torch.device, repeats: int = 15) -> list[dict[str, Any]]:
    """Images a second of each augmentation, in batches of 128 images of 3x32x32, all in one run.

    On a CPU all of it is on one core; on a GPU PIL's part stays on the CPU.

    Args:
        device: of the batches.
        repeats: of which the median is taken.

    Returns:
        Rows of augmentation, images_per_second.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds = medians(_batch_paths(device) | _pil_paths(), repeats)
    finally:
        torch.set_num_threads(threads)
    return [{"augmentation": name, "images_per_second": BATCH / s} for name, s in seconds.items()]


def _images() -> Tensor:
    """Smooth images: as with photographs, the values of neighbours are near."""
    coarse = 255 * torch.rand(BATCH, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, 32, mode="bilinear").to(torch.uint8)


def _batch_paths(device: torch.device) -> dict[str, Callable[[], Any]]:
    images = _images().to(device)
    given = {"dataset": {"padding": 4, "flip": True}}
    paths: dict[str, Callable[[], Any]] = {}
    for path in sorted((CONF / "augment").glob("*.yaml")):
        augment = instantiate(OmegaConf.create(given | {"augment": OmegaConf.load(path)}).augment)
        paths[path.stem] = partial(augment, images)
    return paths


def _pil_paths() -> dict[str, Callable[[], Any]]:
    """The operations of torchvision on PIL images one by one: alone, and with all that a batch needs."""
    images = [to_pil_image(image) for image in _images()]
    fill = [128] * 3
    policies = {
        "autoaugment": transforms.AutoAugment(transforms.AutoAugmentPolicy.CIFAR10, fill=fill),
        "randaugment": transforms.RandAugment(3, 5, fill=fill),
    }
    paths: dict[str, Callable[[], Any]] = {}
    for name, policy in policies.items():
        whole = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4, padding_mode="reflect"),
                transforms.RandomHorizontalFlip(),
                policy,
                transforms.ToTensor(),
                transforms.Normalize((0.5,) * 3, (0.25,) * 3),
            ]
        )
        paths[f"{name}, PIL, operations alone"] = partial(_one_by_one, policy, images)
        paths[f"{name}, PIL, with crop, flip, normalise"] = partial(_one_by_one, whole, images)
    return paths


def _one_by_one(transform: Callable[[Any], Any], images: Sequence[Any]) -> list[Any]:
    return [transform(image) for image in images]
