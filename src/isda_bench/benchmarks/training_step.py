"""What a training step of ResNet-32 on CIFAR-shaped data costs, with ISDA and without, and its data path."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD

from isda_bench.benchmarks.timing import median_ratio, medians
from isda_bench.data.augment import Standard
from isda_bench.data.base import ImageSet
from isda_bench.data.cifar import CIFAR10
from isda_bench.data.loader import BatchTransform, Loader, Normalise
from isda_bench.losses import ISDA, CrossEntropy, Loss
from isda_bench.models.base import Classifier
from isda_bench.models.resnet import ResNet
from isda_bench.training_module import TrainingModule

BATCH = 128


def step_rows(rounds: int = 15) -> list[dict[str, Any]]:
    """A whole step (batch, forward, loss, backward, SGD) with cross-entropy, and ISDA's time over it."""
    plain, augmented = training_step(CrossEntropy(10, 64)), training_step(ISDA(10, 64))
    seconds = medians({"plain": plain}, max(rounds // 3, 1))["plain"]
    return [
        {
            "network": "resnet32",
            "cross_entropy_ms": 1000 * seconds,
            "images_per_second": BATCH / seconds,
            "isda_over_cross_entropy": median_ratio(augmented, plain, rounds),
        }
    ]


def data_rows(rounds: int = 50) -> list[dict[str, Any]]:
    """Images/s of gathering, cropping, flipping and normalising a batch on one core; its part of a step."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        batches = _endless(random_loader())
        times = {"batch": lambda: next(batches), "step": training_step(CrossEntropy(10, 64))}
        batch = medians({"batch": times["batch"]}, rounds, warmup=5)["batch"]
        step = medians({"step": times["step"]}, rounds=3)["step"]
    finally:
        torch.set_num_threads(threads)
    return [
        {"batch_ms": 1000 * batch, "images_per_second": BATCH / batch, "part_of_resnet32_step": batch / step}
    ]


def training_step(loss: Loss, model: Classifier | None = None) -> Callable[[], None]:
    """A whole step on CIFAR-shaped images: batch, forward, loss, backward, SGD.

    Args:
        loss: what is minimised.
        model: the network; None: ResNet-32.
    """
    torch.manual_seed(0)
    module = TrainingModule(model or ResNet(10, 32), loss).train()
    module.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = SGD(module.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=True)
    batches = _endless(random_loader())

    def step() -> None:
        images, targets = next(batches)
        value, _ = module(images, targets, 0.5)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()

    return step


def random_loader(images: int = 50 * BATCH) -> Loader:
    """Random images: the time does not depend on what they show."""
    pixels = torch.randint(0, 256, (images, 3, 32, 32), dtype=torch.uint8)
    device = torch.device("cpu")
    transforms: list[BatchTransform] = [
        Standard(padding=4, flip=True),
        Normalise(CIFAR10.mean, CIFAR10.std, device),
    ]
    return Loader(ImageSet(pixels, torch.randint(0, 10, (images,))), BATCH, device, transforms, shuffle=True)


def _endless(loader: Loader) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        yield from loader
