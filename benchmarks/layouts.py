"""A captured training step with images in either layout: which one `image_layout` should choose."""

from typing import Any

import torch

from isda_bench.benchmarks.gpu_check.step_trials import Trial
from isda_bench.benchmarks.timing import medians
from isda_bench.training.capture import CapturedStep
from isda_bench.training.optimizers import set_learning_rate

BATCH, STEPS, ROUNDS = 128, 10, 3
NETWORKS = ("resnet20", "resnet32", "wrn28_10", "densenet_bc_100_12")
LAYOUTS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}


def layout_rows(device: torch.device) -> list[dict[str, Any]]:
    """Images/s of the bare step with ISDA, in each precision and layout; convolutions sum in a fixed order.

    Returns:
        Rows of network, precision, and images/s with each of `LAYOUTS`.
    """
    return [
        {"network": network, "precision": precision, **_rates(device, network, precision)}
        for network in NETWORKS
        for precision in ("fp32", "tf32", "bf16")
    ]


def _rates(device: torch.device, network: str, precision: str) -> dict[str, float]:
    overrides = [f"model={network}", "loss=isda", f"precision={precision}"]
    blocks = {}
    for name, layout in LAYOUTS.items():
        trial = Trial(device, overrides, batch=BATCH)
        trial.module.model.to(memory_format=layout)  # type: ignore[call-overload]
        trial.step = CapturedStep(trial.module, trial.optimizer, {BATCH}, required=True)
        set_learning_rate(trial.optimizer, 1.0)
        (batch,) = trial.batches(1)
        blocks[name] = lambda step=trial.step, batch=batch: [step(*batch) for _ in range(STEPS)]
    return {name: BATCH * STEPS / seconds for name, seconds in medians(blocks, ROUNDS).items()}
