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
from isda_bench.data.loader import Loader, Normalise
from isda_bench.losses import ISDA, CrossEntropy, Loss
from isda_bench.models.resnet import ResNet
from isda_bench.training_module import TrainingModule

BATCH = 128


def step_cost(rounds: int = 15, device: str = "cpu") -> dict[str, Any]:
    """Seconds of a whole step (batch, forward, loss, backward, SGD) with cross-entropy, and ISDA's over it."""
    plain = _training_step(CrossEntropy(10, 64), device)
    augmented = _training_step(ISDA(10, 64), device)
    seconds = medians({"cross_entropy": plain}, max(rounds // 3, 1), device=device)["cross_entropy"]
    return {
        "model": "resnet32",
        "batch": BATCH,
        "seconds": seconds,
        "images_per_second": BATCH / seconds,
        "isda_over_cross_entropy": median_ratio(augmented, plain, rounds, device),
    }


def data_path(rounds: int = 50, device: str = "cpu") -> dict[str, float]:
    """Images/s of gathering, cropping, flipping and normalising a batch, on one core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        batches = _endless(_loader(device))
        seconds = medians({"batch": lambda: next(batches)}, rounds, warmup=5, device=device)["batch"]
    finally:
        torch.set_num_threads(threads)
    return {"seconds": seconds, "images_per_second": BATCH / seconds}


def _training_step(loss: Loss, device: str) -> Callable[[], None]:
    torch.manual_seed(0)
    module = TrainingModule(ResNet(10, 32), loss).to(device).train()
    module.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = SGD(module.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=True)
    batches = _endless(_loader(device))

    def step() -> None:
        images, targets = next(batches)
        value, _ = module(images, targets, 0.5)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()

    return step


def _loader(device: str, images: int = 50 * BATCH) -> Loader:
    """Random images: the time does not depend on what they show."""
    random = ImageSet(
        torch.randint(0, 256, (images, 3, 32, 32), dtype=torch.uint8), torch.randint(0, 10, (images,))
    )
    where = torch.device(device)
    transforms = [Standard(padding=4, flip=True), Normalise(CIFAR10.mean, CIFAR10.std, where)]
    return Loader(random, BATCH, where, transforms, shuffle=True)


def _endless(loader: Loader) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        yield from loader
