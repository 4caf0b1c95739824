"""Iterations of the inversion (supplement C), before and after it is compiled."""

from collections.abc import Callable
from typing import Any

import torch

from isda_bench.benchmarks.timing import medians
from isda_bench.data.digits import Digits
from isda_bench.gan.networks import NOISE, Generator
from isda_bench.inversion.descent import STEPS, FixedClasses, Search, iteration_of
from isda_bench.inversion.fuse_batchnorm import fused
from isda_bench.models.resnet import ResNet

CLASSES = 10


def inversion_rows(device: torch.device, rounds: int = 30) -> list[dict[str, Any]]:
    """Iterations/s with ResNet-32 and one WGAN a class on digits; Step II has three of each image."""
    rows = []
    for name, draws in (("I", 1), ("II", 3)):
        eager, compiled = (_iteration(device, draws, compiled) for compiled in (False, True))
        seconds = medians({"eager": eager, "compiled": compiled}, rounds, warmup=3)
        rates = {f"{key}_per_second": 1 / value for key, value in seconds.items()}
        rows.append({"step": name, "images": draws * CLASSES, **rates})
    return rows


def _iteration(device: torch.device, draws: int, compiled: bool) -> Callable[[], object]:
    torch.manual_seed(0)
    network = ResNet(CLASSES, 32, in_channels=1).eval().requires_grad_(False)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    classifier = fused(network, torch.randn(2, 1, 8, 8))
    generator = Generator(CLASSES, 1, 8, width=16, per_class=True).eval().requires_grad_(False)
    labels = torch.arange(CLASSES).repeat_interleave(draws)
    images = FixedClasses(generator, labels, torch.empty(len(labels), 0))
    wanted = torch.zeros(len(labels), classifier.feature_dim), torch.zeros(len(labels), 1, 8, 8)
    search = Search(classifier, images, Digits(), *wanted, eta=1.0).to(device)
    iteration = iteration_of(search, STEPS[0], compiled)
    z = torch.randn(len(labels), NOISE, device=device)
    rate = torch.tensor(0.1, device=device)
    return lambda: iteration(z, torch.zeros_like(z), rate)
