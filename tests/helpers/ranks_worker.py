"""What each of two processes does in the tests of distributed training; the tests do the same in one."""

import os
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim import SGD

from helpers.interruption import Killed, dying_after_batches
from helpers.tiny import TINY
from isda_bench.config.compose import compose_run
from isda_bench.data.base import ImageSet
from isda_bench.data.loader import Loader
from isda_bench.data.mixup import CutMix, Mixup
from isda_bench.losses import ISDA
from isda_bench.losses.center import Center
from isda_bench.losses.large_margin import LargeMargin
from isda_bench.models.base import Classifier
from isda_bench.runtime.distributed import gather_rows, local_shard, process_group, sum_over_ranks, wrap
from isda_bench.training.evaluate import evaluate
from isda_bench.training.run import run
from isda_bench.training.step import TrainingModule

CPU = torch.device("cpu")
CLASSES, FEATURES, BATCH, STEPS = 5, 6, 13, 20
LOSSES = {
    "full": lambda: ISDA(CLASSES, FEATURES, strength=2.0),
    "diagonal": lambda: ISDA(CLASSES, FEATURES, strength=2.0, covariance="diagonal"),
    "shared": lambda: ISDA(CLASSES, FEATURES, strength=2.0, covariance="shared"),
    "center": lambda: Center(CLASSES, FEATURES, weight=0.1),
    "large_margin": lambda: LargeMargin(CLASSES, FEATURES),
}


class Perceptron(Classifier):
    """A hidden layer and no batch statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(12, FEATURES)
        self.head = nn.Linear(FEATURES, CLASSES)

    def features(self, images):
        return self.hidden(images.flatten(1)).tanh()


def batches(dtype: torch.dtype):
    """Class 4 is in the last place of each batch only, and so on one rank; 3 now and then; 13 = 7 + 6."""
    generator = torch.Generator().manual_seed(1)
    for step in range(STEPS):
        images = torch.randn(BATCH, 3, 2, 2, generator=generator, dtype=torch.float64)
        targets = torch.randint(3 + step % 2, (BATCH,), generator=generator)
        targets[-1] = 4
        yield images.to(dtype), targets


def training(name: str, dtype: torch.dtype):
    """Losses and the final state of 20 steps."""
    torch.manual_seed(0)
    module = wrap(TrainingModule(Perceptron(), LOSSES[name]()).to(dtype), CPU)
    optimizer = SGD(
        [{"params": list(module.model.parameters())}, *module.loss.parameter_groups()],
        lr=0.1,
        momentum=0.9,
        weight_decay=1e-4,
        nesterov=True,
    )
    losses = []
    for step, (images, targets) in enumerate(batches(dtype)):
        loss, _ = module(local_shard(images), local_shard(targets), step / STEPS)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return {"losses": losses, "model": module.model.state_dict(), "loss": module.loss.state_dict()}


def loading():
    """Each batch of two epochs as this rank sees it, and an evaluation."""
    torch.manual_seed(3 + int(os.environ.get("RANK", "0")))
    images = ImageSet(torch.zeros(11, 3, 2, 2, dtype=torch.uint8), torch.arange(11) % CLASSES)
    images.images[:] = torch.arange(11)[:, None, None, None]
    loader = Loader(images, 4, CPU, [], shuffle=True)
    epochs = [[batch[:, 0, 0, 0].tolist() for batch, _ in loader] for _ in range(2)]
    mixed = [float(mixing(*next(iter(loader))).weight) for mixing in (Mixup(), CutMix()) for _ in range(3)]
    torch.manual_seed(0)
    model = Perceptron()
    measured = evaluate(model, Loader(images, 4, CPU, [lambda x: x.float() / 11], shuffle=False))
    total = sum_over_ranks(torch.ones(1)).item()
    return {"epochs": epochs, "weights": mixed, "evaluation": measured, "sum": total}


def joining(rank: int, processes: int, ports: list[int]) -> None:
    """Joins the others and leaves them, again and again, right after tensors were exchanged."""
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1"}
    for port in ports:
        os.environ["MASTER_PORT"] = str(port)
        _join_and_leave()


def _join_and_leave() -> None:
    with process_group(CPU):
        module = wrap(TrainingModule(Perceptron(), LOSSES["full"]()), CPU)
        images, targets = next(batches(torch.float32))
        module(local_shard(images), local_shard(targets), 0.5)[0].backward()
        gather_rows(torch.randn(2, 3))


def interrupted(runs: Path, batch: int) -> None:
    """A run whose processes die after `batch` batches; there is a checkpoint after each."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Loader, "__iter__", dying_after_batches(batch))
        run(configuration(runs))


def configuration(runs: Path):
    """200 digits in batches of 63: 32 + 31, the last one 6 + 5."""
    constant = ["schedule.milestones=[2]", "schedule.factor=1"]
    overrides = ["schedule.batch_size=63", "schedule.epochs=2", *constant]
    more = ["loss=isda", "mix=cutmix", "model.dropout=0.1", "device=cpu", "checkpoint.every_minutes=0.000001"]
    return compose_run([*TINY[:-1], *overrides, *more, f"runs_dir={runs}"])


def work(rank: int, processes: int, ports: list[int], folder: Path) -> None:
    """Everything of one rank; leaves <folder>/<rank>.pt and the runs."""
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1"}
    os.environ["MASTER_PORT"] = str(ports[0])
    results = {}
    with process_group(CPU):
        for name in LOSSES:
            for dtype in (torch.float32, torch.float64):
                results[name, str(dtype)] = training(name, dtype)
        results["loading"] = loading()
    for port, go in zip(
        ports[1:],
        [
            lambda: run(configuration(folder / "unbroken")),
            lambda: interrupted(folder / "broken", batch=7),
            lambda: run(configuration(folder / "broken")),
            lambda: interrupted(folder / "fewer", batch=7),
        ],
        strict=True,
    ):
        os.environ["MASTER_PORT"] = str(port)
        torch.manual_seed(99 + rank)  # what was drawn before must not matter
        go()
    torch.save(results, folder / f"{rank}.pt")
