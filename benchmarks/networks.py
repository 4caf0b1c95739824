"""Our networks beside pytorchcv's: seconds of a training step and its memory, on the CPU.

Both sides run in one process, turn by turn, so that a change of the machine's load meets both. Ours are laid
out channels_last; pytorchcv's as they come.
"""

import importlib
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import isda_bench.runtime.torchvision_import  # noqa: F401  # isort: skip  # pytorchcv imports torchvision here and there
import torch
from hydra.utils import instantiate
from torch import Tensor, nn

from isda_bench.benchmarks.timing import medians
from isda_bench.config.compose import compose_run
from isda_bench.errors import UserError

COUNTERPARTS = {
    "resnet110": "resnet_cifar.resnet110_cifar10",
    "se_resnet110": "seresnet_cifar.seresnet110_cifar10",
    "wrn28_10": "wrn_cifar.wrn28_10_cifar10",
    "densenet_bc_100_12": "densenet_cifar.densenet100_k12_bc_cifar10",
    "shake_shake_26_2x32d": "shakeshakeresnet_cifar.shakeshakeresnet26_2x32d_cifar10",
    "pyramidnet110_a48": "pyramidnet_cifar.pyramidnet110_a48_cifar10",
}
"""Our network -> module and function of pytorchcv.models that make the same one."""

SIDES = ("ours", "theirs")


def network_rows(turns: int = 3, batch_size: int = 32) -> list[dict[str, Any]]:
    """Measures our networks beside their counterparts.

    Args:
        turns: of which the median is taken, ours and theirs in turn.
        batch_size: images a step.

    Returns:
        Rows of network, milliseconds of a forward and backward pass, and MiB by which two passes raise the
        process's peak memory, of both, and their ratios.

    Raises:
        UserError: pytorchcv is not installed.
    """
    if importlib.util.find_spec("pytorchcv") is None:
        raise UserError("the comparison of networks needs pytorchcv: pip install -e '.[bench]'")
    return [_row(name, turns, batch_size) for name in COUNTERPARTS]


def _row(name: str, turns: int, batch_size: int) -> dict[str, Any]:
    seconds = medians({side: _step(name, side, batch_size) for side in SIDES}, turns)
    memory = {side: _megabytes(name, side, batch_size) for side in SIDES}
    return {
        "network": name,
        "ms": 1000 * seconds["ours"],
        "their_ms": 1000 * seconds["theirs"],
        "time_ratio": seconds["ours"] / seconds["theirs"],
        "mib": memory["ours"],
        "their_mib": memory["theirs"],
        "memory_ratio": memory["ours"] / memory["theirs"],
    }


def _step(name: str, side: str, batch_size: int) -> Callable[[], None]:
    """One forward and backward pass of our network or of its counterpart over random images."""
    torch.manual_seed(0)
    images = torch.randn(batch_size, 3, 32, 32)
    model = _ours(name) if side == "ours" else _theirs(name)
    if side == "ours":
        images = images.contiguous(memory_format=torch.channels_last)
    return lambda: _train(model, images)


def _ours(name: str) -> nn.Module:
    # pytorchcv's networks have no dropout
    settings = compose_run([f"model={name}", "model.dropout=0.0"]).settings
    model: nn.Module = instantiate(settings.model, num_classes=10)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it


def _theirs(name: str) -> nn.Module:
    module, function = COUNTERPARTS[name].split(".")
    return getattr(importlib.import_module(f"pytorchcv.models.{module}"), function)()


def _train(model: nn.Module, images: Tensor) -> None:
    model.zero_grad()
    model(images).logsumexp(1).mean().backward()


def _megabytes(name: str, side: str, batch_size: int) -> float:
    """Rise of the peak memory over two steps, in a process of its own."""
    code = f"import sys; sys.path[:] = {sys.path!r}; import networks as n; "
    code += f"print(n.rise({name!r}, {side!r}, {batch_size}))"
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    return float(output)


def rise(name: str, side: str, batch_size: int) -> float:
    """MiB by which two steps raise this process's peak memory."""
    step = _step(name, side, batch_size)
    before = _kilobytes("VmRSS")
    for _ in range(2):
        step()
    return (_kilobytes("VmHWM") - before) / 1024


def _kilobytes(field: str) -> int:
    """A field of /proc/self/status, which excludes the parent process, unlike getrusage's maximum."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])
