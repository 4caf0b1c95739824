"""A few steps of a small network on given global batches; torchrun starts this module in two processes.

    torchrun --nproc-per-node=2 -m isda_bench.benchmarks.gpu_check.two_processes <device> <file>

The first process writes the parameters and the loss's statistics. The network has no BatchNorm, whose
statistics are those of a rank's own part, and computes in float64: two processes then give the numbers of
one, up to the order of sums.
"""

import os
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from isda_bench.losses.isda import ISDA
from isda_bench.models.base import Classifier
from isda_bench.runtime.devices import choose_device
from isda_bench.runtime.distributed import local_shard, process_group, wrap
from isda_bench.runtime.ranks import rank
from isda_bench.training.step import Step, TrainingModule

CLASSES, FEATURES, IMAGES, STEPS = 5, 6, 13, 5


class Convolution(Classifier):
    """A convolution, a mean over the image, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, FEATURES, 3)
        self.head = nn.Linear(FEATURES, CLASSES)

    def features(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) to features (N, 6)."""
        mapped: Tensor = self.convolution(images).tanh().mean((2, 3))
        return mapped


def trained(device: torch.device) -> dict[str, Tensor]:
    """Parameters and statistics after the steps, on the CPU; this process's part of each batch is its own."""
    torch.manual_seed(0)
    own = TrainingModule(Convolution(), ISDA(CLASSES, FEATURES, strength=2.0)).double().to(device)
    module = wrap(own, device)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=True)
    step = Step(module, optimizer)
    generator = torch.Generator().manual_seed(1)
    for i in range(STEPS):
        images = torch.randn(IMAGES, 3, 8, 8, generator=generator, dtype=torch.float64).to(device)
        targets = torch.randint(CLASSES, (IMAGES,), generator=generator).to(device)
        progress = torch.tensor(i / STEPS, dtype=torch.float64, device=device)
        step(local_shard(images), local_shard(targets), progress)
    return {name: value.detach().cpu() for name, value in own.state_dict().items()}


def _main(name: str, file: Path) -> None:
    device = choose_device(name)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    with process_group(device):
        state = trained(device)
        if rank() == 0:
            torch.save(state, file)


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]))
    sys.stderr.flush()
    # A thread of gloo that still frees the last sum needs the interpreter's lock. While Python shuts down the
    # thread is ended for that, and the process with it ("terminate called without an active exception").
    os._exit(0)
