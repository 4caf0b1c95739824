"""ResNet-32 on CIFAR-shaped images beside a training loop as people write it, and what each measure gives."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD
from torch.utils.data import DataLoader, Dataset

import isda_bench.runtime.torchvision_import  # noqa: F401  # isort: skip
from torchvision import transforms  # type: ignore[import-untyped,unused-ignore]

from isda_bench.benchmarks.timing import medians
from isda_bench.benchmarks.training_step import BATCH, random_loader, training_epoch, training_module
from isda_bench.data.cifar import CIFAR10
from isda_bench.losses import CrossEntropy
from isda_bench.models.resnet import ResNet

BATCHES = 16
WORKERS = 2


def plain_loop_rows(device: torch.device, rounds: int = 5) -> list[dict[str, Any]]:
    """An epoch of 2,048 images, end to end: the plain loop, then one measure after another, then ours.

    Returns:
        Rows of loop, milliseconds a step, images_per_second and speedup over the plain loop.
    """
    images = np.random.randint(0, 256, (BATCH * BATCHES, 32, 32, 3), dtype=np.uint8)
    worker_batches = DataLoader(
        PILImages(images), BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True
    )
    resident = random_loader(BATCH * BATCHES, device=device)
    plain, fast = _model(False, device), _model(True, device)
    module = training_module(CrossEntropy(10, 64), ResNet(10, 32), device)
    ours, _ = training_epoch(module, random_loader(BATCH * BATCHES, device=device))
    epochs: dict[str, Callable[[], object]] = {
        "plain: DataLoader, PIL, NCHW, .item() a step": partial(_plain_epoch, *plain, worker_batches),
        "and channels_last": partial(_plain_epoch, *fast, worker_batches),
        "and images as one array, augmented by the batch": partial(
            _plain_epoch, *_model(True, device), resident
        ),
        "isda_bench": ours,
    }
    seconds = medians(epochs, rounds)
    slowest = next(iter(seconds.values()))
    return [
        {
            "loop": name,
            "step_ms": 1000 * s / BATCHES,
            "images_per_second": BATCH * BATCHES / s,
            "speedup": slowest / s,
        }
        for name, s in seconds.items()
    ]


class PILImages(Dataset[tuple[Tensor, int]]):
    """The usual CIFAR pipeline: an image at a time, through PIL.

    Args:
        images: (N, H, W, 3), uint8.
    """

    def __init__(self, images: np.ndarray) -> None:
        self.images = images
        mean, std = ([value / 255 for value in values] for values in (CIFAR10.mean, CIFAR10.std))
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, 4, padding_mode="reflect"),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(mean, std),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), index % 10


def _model(channels_last: bool, device: torch.device) -> tuple[nn.Module, SGD]:
    torch.manual_seed(0)
    model = ResNet(10, 32).to(device).train()
    if channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model, SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=True)


def _plain_epoch(model: nn.Module, optimizer: SGD, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
    total_loss, errors = 0.0, 0
    device = next(model.parameters()).device
    for images, targets in batches:
        images, targets = images.to(device), targets.to(device)
        logits = model(images)
        loss = F.cross_entropy(logits, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total_loss += loss.item() * len(targets)
        errors += (logits.argmax(1) != targets).sum().item()
