"""The overhead of the training loop over its bare steps."""

import statistics
from tempfile import TemporaryDirectory
from typing import Any

import torch

from isda_bench.benchmarks.timing import medians, ratios
from isda_bench.benchmarks.training_step import (
    BATCH,
    random_loader,
    training_epoch,
    training_module,
    training_step,
)
from isda_bench.config.compose import compose_run
from isda_bench.losses import ISDA
from isda_bench.models.base import Classifier
from isda_bench.models.resnet import ResNet
from isda_bench.storage.run_directory import RunDirectory

CLASSES = 10
EPOCHS = {"resnet32": (32, 3, 32, 4, 15), "resnet8": (8, 1, 8, 50, 25)}
"""Depth, channels, side, batches, rounds. The second has the shape of the digits, whose steps are short.

Many short epochs give a smaller uncertainty than few long ones: the machine's load changes meanwhile.
"""


def loop_rows(device: torch.device) -> list[dict[str, Any]]:
    """An epoch with ISDA as `fit` trains it, over its bare steps: batch, forward, loss, backward, SGD.

    Returns:
        Rows of network, batches, milliseconds of a bare step, and the epoch's time over that of its steps:
        without its line of metrics and its checkpoint, how uncertain that is (the half of the rounds' ratios
        lie within it, divided by the root of their number), and with them.
    """
    return [_row(name, device) for name in EPOCHS]


def _row(network: str, device: torch.device) -> dict[str, Any]:
    depth, channels, side, batches, rounds = EPOCHS[network]

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

            step = medians({"bare": bare}, 3)["bare"] / batches
            lean, whole = (ratios(epoch, bare, rounds) for epoch in (train, train_and_save))
            low, _, high = statistics.quantiles(lean, n=4)
            return {
                "network": network,
                "batches": batches,
                "step_ms": 1000 * step,
                "epoch_over_steps": statistics.median(lean),
                "uncertainty": (high - low) / rounds**0.5,
                "with_metrics_and_checkpoint": statistics.median(whole),
            }
