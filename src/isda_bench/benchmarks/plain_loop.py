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

import isda_bench.torchvision_cure  # noqa: F401  # isort: skip
from torchvision import transforms  # type: ignore[import-untyped,unused-ignore]

from isda_bench.benchmarks.timing import medians
from isda_bench.benchmarks.training_step import random_loader
from isda_bench.compose import compose_run
from isda_bench.data.cifar import CIFAR10
from isda_bench.display import Display
from isda_bench.loop import make_optimizer, train_epoch
from isda_bench.losses import CrossEntropy
from isda_bench.models.resnet import ResNet
from isda_bench.record import LeftToFirstRank
from isda_bench.run_state import RunState
from isda_bench.schedules import Schedule
from isda_bench.step import make_step
from isda_bench.training_module import TrainingModule

BATCH, BATCHES = 128, 16
WORKERS = 2


def plain_loop_rows(rounds: int = 5) -> list[dict[str, Any]]:
    """An epoch of 2,048 images, end to end: the plain loop, then one measure after another, then ours.

    Returns:
        Rows of loop, milliseconds a step, images_per_second and speedup over the plain loop.
    """
    images = np.random.randint(0, 256, (BATCH * BATCHES, 32, 32, 3), dtype=np.uint8)
    worker_batches = DataLoader(
        PILImages(images), BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True
    )
    resident = random_loader(BATCH * BATCHES)
    epochs: dict[str, Callable[[], object]] = {
        "plain: DataLoader, PIL, NCHW, .item() a step": partial(_plain_epoch, *_model(False), worker_batches),
        "and channels_last": partial(_plain_epoch, *_model(True), worker_batches),
        "and images as one array, augmented by the batch": partial(_plain_epoch, *_model(True), resident),
        "isda_bench": _our_epoch(),
    }
    seconds = medians(epochs, rounds)
    plain = next(iter(seconds.values()))
    return [
        {
            "loop": name,
            "step_ms": 1000 * s / BATCHES,
            "images_per_second": BATCH * BATCHES / s,
            "speedup": plain / s,
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


def _model(channels_last: bool) -> tuple[nn.Module, SGD]:
    torch.manual_seed(0)
    model = ResNet(10, 32).train()
    if channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model, SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=True)


def _plain_epoch(model: nn.Module, optimizer: SGD, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
    total_loss, errors = 0.0, 0
    for images, targets in batches:
        logits = model(images)
        loss = F.cross_entropy(logits, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total_loss += loss.item() * len(targets)
        errors += (logits.argmax(1) != targets).sum().item()


def _our_epoch() -> Callable[[], object]:
    """The epoch as `fit` runs it."""
    schedule = Schedule(
        epochs=10**6,
        batch_size=BATCH,
        learning_rate=0.1,
        momentum=0.9,
        weight_decay=1e-4,
        milestones=[],
        factor=0.1,
    )
    model, _ = _model(True)
    module = TrainingModule(model, CrossEntropy(10, 64))  # type: ignore[arg-type]
    batches = random_loader(BATCH * BATCHES)
    display = Display("benchmark", schedule.epochs, len(batches))
    optimizer = make_optimizer(module, schedule)
    nowhere = LeftToFirstRank(compose_run(["dataset=digits"]))
    state = RunState(module, optimizer, batches, nowhere, minutes=None)
    step = make_step(module, optimizer)
    return lambda: train_epoch(step, batches, 1, schedule.epochs, display, state)
