"""The added time of ISDA in the step of every network, beside the least time of its memory traffic."""

from collections.abc import Callable
from typing import Any

import torch
from hydra.utils import instantiate

from isda_bench.benchmarks.losses import as_captured, head_pass
from isda_bench.benchmarks.timing import medians
from isda_bench.benchmarks.training_step import SCHEDULE, training_module
from isda_bench.config.compose import compose_run
from isda_bench.losses import ISDA, CrossEntropy
from isda_bench.losses.isda import Covariance
from isda_bench.models.base import Classifier
from isda_bench.reporting.model_table import Row, measure, names
from isda_bench.runtime.devices import image_layout
from isda_bench.training.optimizers import make_optimizer
from isda_bench.training.step import Step

CPU_FLOPS = 60e9
"""A CPU's step is timed with so many images, and taken in proportion: PyramidNet's takes minutes."""
COPIED = 2**28  # bytes


def network_step_rows(device: torch.device, rounds: int = 5) -> list[dict[str, Any]]:
    """Every CIFAR network with 10 and 100 classes; ResNet-50 with 1000 and the diagonal covariance.

    On CUDA the step is timed in two precisions. ISDA's extra time is that of all that comes after the
    features, less cross-entropy's, taken in turn: the noise of a whole step is larger. The floor is reading
    and writing the covariances of the classes in the batch, at the speed of a copy of 256 MiB.

    Returns:
        Rows of network, num_classes, covariance, batch_size, precision, timed_images, step_ms, extra_ms,
        floor_ms and extra_percent of the step.
    """
    bandwidth = 2 * COPIED / medians({"copy": _copy(device)}, rounds)["copy"]
    networks = [measure(name) for name in names()]
    cifar = [network for network in networks if network.family != "imagenet"]
    rows = [_row(network, (10, 100), "full", device, bandwidth, rounds) for network in cifar]
    resnet50 = next(network for network in networks if network.name == "resnet50")
    rows.append(_row(resnet50, (1000,), "diagonal", device, bandwidth, rounds))
    return [row for of_network in rows for row in of_network]


def _row(
    network: Row,
    classes: tuple[int, ...],
    covariance: Covariance,
    device: torch.device,
    bandwidth: float,
    rounds: int,
) -> list[dict[str, Any]]:
    batch_size = compose_run([f"model={network.name}"]).settings.schedule.batch_size
    timed = batch_size
    if device.type == "cpu":
        timed = min(batch_size, max(2, round(CPU_FLOPS / network.training_flops)))
    steps = {}
    for precision in ("bf16", "fp32") if device.type == "cuda" else ("fp32",):
        seconds = medians({"step": _step(network, classes[0], timed, device, precision)}, 3)["step"]
        steps[precision] = seconds * batch_size / timed
    rows = []
    for num_classes in classes:
        extra, floor = _extra(network.feature_dim, num_classes, batch_size, covariance, device, rounds)
        rows += [
            {
                "network": network.name,
                "num_classes": num_classes,
                "covariance": covariance,
                "batch_size": batch_size,
                "precision": precision,
                "timed_images": timed,
                "step_ms": 1000 * step,
                "extra_ms": 1000 * extra,
                "floor_ms": 1000 * floor / bandwidth,
                "extra_percent": 100 * extra / step,
            }
            for precision, step in steps.items()
        ]
    return rows


def _extra(
    feature_dim: int, num_classes: int, n: int, covariance: Covariance, device: torch.device, rounds: int
) -> tuple[float, float]:
    """ISDA's time over cross-entropy's, seconds, and the bytes that it cannot do without."""
    features = torch.randn(n, feature_dim, device=device)
    targets = torch.randint(num_classes, (n,), device=device)
    losses = {
        "isda": ISDA(num_classes, feature_dim, covariance=covariance),
        "plain": CrossEntropy(num_classes, feature_dim),
    }
    heads = {name: head_pass(loss.to(device), features, targets) for name, loss in losses.items()}
    passes = {name: as_captured(head, device) for name, head in heads.items()}
    seconds = medians(passes, 2 * rounds + 1, warmup=2)
    elements = feature_dim**2 if covariance == "full" else feature_dim
    return seconds["isda"] - seconds["plain"], 8.0 * len(targets.unique()) * elements


def _step(
    network: Row, num_classes: int, n: int, device: torch.device, precision: str
) -> Callable[[], object]:
    model: Classifier = instantiate(
        compose_run([f"model={network.name}"]).settings.model, num_classes=num_classes
    )
    loss = CrossEntropy(num_classes, model.feature_dim)
    module = training_module(loss, model, device, precision)
    side = 224 if network.family == "imagenet" else 32
    images = torch.randn(n, 3, side, side, device=device).to(memory_format=image_layout(device, precision))
    targets = torch.randint(num_classes, (n,), device=device)
    one, progress = Step(module, make_optimizer(module, SCHEDULE)), torch.tensor(0.5, device=device)
    return as_captured(lambda: one(images, targets, progress), device)


def _copy(device: torch.device) -> Callable[[], object]:
    source = torch.zeros(COPIED, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return lambda: target.copy_(source)
