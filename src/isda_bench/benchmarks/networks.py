"""Our networks beside pytorchcv's: seconds of a training step and its memory, on the CPU.

Both sides run in one process, turn by turn, so that a change of the machine's load meets both. Ours are laid
out channels_last; pytorchcv's as they come.
"""

import importlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import isda_bench.torchvision_cure  # noqa: F401  # isort: skip  # pytorchcv imports torchvision here and there
import torch
from hydra.utils import instantiate
from torch import Tensor, nn

from isda_bench.model_table import composed

COUNTERPARTS = {
    "resnet110": "resnet_cifar.resnet110_cifar10",
    "se_resnet110": "seresnet_cifar.seresnet110_cifar10",
    "wrn28_10": "wrn_cifar.wrn28_10_cifar10",
    "densenet_bc_100_12": "densenet_cifar.densenet100_k12_bc_cifar10",
    "shake_shake_26_2x32d": "shakeshakeresnet_cifar.shakeshakeresnet26_2x32d_cifar10",
    "pyramidnet110_a48": "pyramidnet_cifar.pyramidnet110_a48_cifar10",
}
"""Our network -> module and function of pytorchcv.models that make the same one."""


@dataclass(frozen=True)
class Row:
    """One network beside its counterpart.

    Attributes:
        name: the network.
        seconds: median of a forward and backward pass, ours.
        their_seconds: the same, pytorchcv's.
        megabytes: by how much the passes raise the process's peak memory, ours.
        their_megabytes: the same, pytorchcv's.
    """

    name: str
    seconds: float
    their_seconds: float
    megabytes: float
    their_megabytes: float


def compare(names: list[str], batch_size: int = 32, turns: int = 3, steps: int = 3) -> list[Row]:
    """Measures the networks named, keys of `COUNTERPARTS`, beside their counterparts.

    Args:
        names: networks.
        batch_size: images a step.
        turns: how often either side gets its turn.
        steps: measured steps a turn, after one that is not measured.

    Raises:
        ModuleNotFoundError: pytorchcv is not installed (`pip install isda_bench[bench]`).
    """
    rows = []
    for name in names:
        sides = [_step(name, side, batch_size) for side in ("ours", "theirs")]
        ours, theirs = _medians(sides, turns, steps)
        memory = (_megabytes(name, side, batch_size) for side in ("ours", "theirs"))
        rows.append(Row(name, ours, theirs, *memory))
    return rows


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
    model: nn.Module = instantiate(composed(name, "model.dropout=0.0").model, num_classes=10)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it


def _theirs(name: str) -> nn.Module:
    module, function = COUNTERPARTS[name].split(".")
    return getattr(importlib.import_module(f"pytorchcv.models.{module}"), function)()


def _train(model: nn.Module, images: Tensor) -> None:
    model.zero_grad()
    model(images).logsumexp(1).mean().backward()


def _medians(sides: list[Callable[[], None]], turns: int, steps: int) -> list[float]:
    """Median seconds of each side's steps.

    Each turn begins with a step that is not measured: the other side has filled the caches meanwhile, the one
    of compiled convolutions among them.
    """
    seconds: list[list[float]] = [[] for _ in sides]
    for _ in range(turns):
        for side, step in enumerate(sides):
            step()
            for _ in range(steps):
                start = time.perf_counter()
                step()
                seconds[side].append(time.perf_counter() - start)
    return [statistics.median(measured) for measured in seconds]


def _megabytes(name: str, side: str, batch_size: int) -> float:
    """Rise of the peak memory over two steps, in a process of its own."""
    code = f"import sys; sys.path[:] = {sys.path!r}; from isda_bench.benchmarks import networks as n; "
    code += f"print(n._rise({name!r}, {side!r}, {batch_size}))"
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    return float(output)


def _rise(name: str, side: str, batch_size: int) -> float:
    step = _step(name, side, batch_size)
    before = _kilobytes("VmRSS")
    for _ in range(2):
        step()
    return (_kilobytes("VmHWM") - before) / 1024


def _kilobytes(field: str) -> int:
    """A field of /proc/self/status; unlike getrusage's maximum, it knows nothing of the parent process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])
