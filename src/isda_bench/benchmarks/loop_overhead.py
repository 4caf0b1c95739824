"""What the training loop adds to its bare steps."""

from tempfile import TemporaryDirectory
from typing import Any

import torch

from isda_bench.benchmarks.timing import median_ratio, medians
from isda_bench.benchmarks.training_step import (
    BATCH,
    random_loader,
    training_epoch,
    training_module,
    training_step,
)
from isda_bench.compose import compose_run
from isda_bench.losses import ISDA
from isda_bench.models.base import Classifier
from isda_bench.models.resnet import ResNet
from isda_bench.record import RunDirectory

CLASSES = 10
EPOCHS = {"resnet32": (32, 3, 32, 8), "resnet8": (8, 1, 8, 200)}
"""Depth, channels, side, batches. The second has the shape of the digits, whose steps are short."""


def loop_rows(device: torch.device, rounds: int = 5) -> list[dict[str, Any]]:
    """An epoch with ISDA as `fit` trains it, over its bare steps: batch, forward, loss, backward, SGD.

    Returns:
        Rows of network, batches, milliseconds of a bare step, and the epoch's time over that of its steps:
        without and with its line of metrics and its checkpoint.
    """
    return [_row(name, device, rounds) for name in EPOCHS]


def _row(network: str, device: torch.device, rounds: int) -> dict[str, Any]:
    depth, channels, side, batches = EPOCHS[network]

    def model() -> Classifier:
        return ResNet(CLASSES, depth, in_channels=channels)

    bare_step = training_step(ISDA(CLASSES, 64), model(), device, (channels, side, side))

    def bare() -> None:
        for _ in range(batches):
            bare_step()

    with TemporaryDirectory() as folder:
        directory = RunDirectory(compose_run([f"model={network}", "dataset=digits", f"runs_dir={folder}"]))
        with directory.locked():
            module = training_module(ISDA(CLASSES, 64), model(), device)
            loader = random_loader(batches * BATCH, (channels, side, side), device)
            train, state = training_epoch(module, loader, directory)

            def train_and_save() -> None:
                state.metrics = [{"epoch": 1} | train()]
                directory.append(state.metrics[0])
                state.save()

            return {
                "network": network,
                "batches": batches,
                "step_ms": 1000 * medians({"bare": bare}, 3)["bare"] / batches,
                "epoch_over_steps": median_ratio(train, bare, rounds),
                "with_metrics_and_checkpoint": median_ratio(train_and_save, bare, rounds),
            }
