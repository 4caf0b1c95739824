"""The cost of a training step of ResNet-32 on CIFAR-shaped data, with and without ISDA, and its data path."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from isda_bench.benchmarks.timing import median_ratio, medians
from isda_bench.config.compose import compose_run
from isda_bench.config.settings import TrainingRecipe
from isda_bench.data.augment import Standard
from isda_bench.data.base import ImageSet
from isda_bench.data.cifar import CIFAR10
from isda_bench.data.loader import BatchTransform, Loader, Normalise
from isda_bench.losses import ISDA, CrossEntropy, Loss
from isda_bench.models.base import Classifier
from isda_bench.models.resnet import ResNet
from isda_bench.monitoring.progress import Display
from isda_bench.runtime.devices import image_layout
from isda_bench.runtime.library_faults import on_device
from isda_bench.storage.run_directory import NullRunDirectory, RunDirectory
from isda_bench.storage.run_results import Metrics
from isda_bench.training.capture import make_step
from isda_bench.training.loop import train_epoch
from isda_bench.training.optimizers import make_optimizer
from isda_bench.training.state import RunState
from isda_bench.training.step import TrainingModule, can_be_captured

BATCH = 128
CPU = torch.device("cpu")
SCHEDULE = TrainingRecipe(
    epochs=10**6,
    batch_size=BATCH,
    learning_rate=0.1,
    momentum=0.9,
    weight_decay=1e-4,
    milestones=[],
    factor=0.1,
)
"""Of Table 1, but that it does not end."""


def step_rows(device: torch.device, rounds: int = 15) -> list[dict[str, Any]]:
    """A whole step (batch, forward, loss, backward, SGD) with cross-entropy, and ISDA's time over it."""
    plain, augmented = (training_step(loss(10, 64), device=device) for loss in (CrossEntropy, ISDA))
    seconds = medians({"plain": plain}, max(rounds // 3, 1))["plain"]
    return [
        {
            "network": "resnet32",
            "cross_entropy_ms": 1000 * seconds,
            "images_per_second": BATCH / seconds,
            "isda_over_cross_entropy": median_ratio(augmented, plain, rounds),
        }
    ]


def data_rows(device: torch.device, rounds: int = 50) -> list[dict[str, Any]]:
    """Images/s of gather, crop, flip and normalise (a CPU's on one core), and their part of a step."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        batches = _endless(random_loader(device=device))
        times = {"batch": lambda: next(batches), "step": training_step(CrossEntropy(10, 64), device=device)}
        batch = medians({"batch": times["batch"]}, rounds, warmup=5)["batch"]
        step = medians({"step": times["step"]}, rounds=3)["step"]
    finally:
        torch.set_num_threads(threads)
    return [
        {"batch_ms": 1000 * batch, "images_per_second": BATCH / batch, "part_of_resnet32_step": batch / step}
    ]


def training_step(
    loss: Loss,
    model: Classifier | None = None,
    device: torch.device = CPU,
    shape: tuple[int, int, int] = (3, 32, 32),
) -> Callable[[], object]:
    """A whole step on random images: batch, forward, loss, backward, SGD.

    Args:
        loss: the minimised one.
        model: the network; None: ResNet-32.
        device: where all of it is.
        shape: of an image.
    """
    module = training_module(loss, model or ResNet(10, 32), device)
    optimizer = make_optimizer(module, SCHEDULE)
    batches = _endless(random_loader(shape=shape, device=device))
    progress = torch.tensor(0.5, device=device)
    if module.capture:
        captured = make_step(module, optimizer, {BATCH})
        return lambda: captured(*next(batches), progress)

    def step() -> None:
        images, targets = next(batches)
        value, _ = module(images, targets, progress)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()

    return step


def training_epoch(
    module: TrainingModule, batches: Loader, directory: RunDirectory | None = None
) -> tuple[Callable[[], Metrics], RunState]:
    """An epoch as `fit` trains it, which gives its metrics, and the state that it keeps.

    Args:
        module: as `training_module` makes it.
        batches: the training set.
        directory: where the state would be saved.
    """
    optimizer = make_optimizer(module, SCHEDULE)
    directory = directory or NullRunDirectory(compose_run(["dataset=digits"]))
    state = RunState(module, optimizer, batches, directory, minutes=None)
    step = make_step(module, optimizer, {BATCH})
    display = Display("benchmark", SCHEDULE.epochs, len(batches))
    return lambda: train_epoch(step, batches, 1, SCHEDULE.epochs, display, state), state


def training_module(
    loss: Loss, model: Classifier, device: torch.device, precision: str = "fp32"
) -> TrainingModule:
    """Model and loss as a run in this precision has them, ready to train."""
    torch.manual_seed(0)
    module = on_device(TrainingModule(model, loss, precision == "bf16"), device).train()
    module.model.to(memory_format=image_layout(device, precision))  # type: ignore[call-overload]
    module.capture = can_be_captured(module)
    return module


def random_loader(
    images: int = 50 * BATCH, shape: tuple[int, int, int] = (3, 32, 32), device: torch.device = CPU
) -> Loader:
    """Random images: the time does not depend on their content."""
    pixels = torch.randint(0, 256, (images, *shape), dtype=torch.uint8)
    channels = shape[0]
    transforms: list[BatchTransform] = [
        Standard(padding=4, flip=True),
        Normalise(CIFAR10.mean[:channels], CIFAR10.std[:channels], device),
    ]
    return Loader(ImageSet(pixels, torch.randint(0, 10, (images,))), BATCH, device, transforms, shuffle=True)


def _endless(loader: Loader) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        yield from loader
