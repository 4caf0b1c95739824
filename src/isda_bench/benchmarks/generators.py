"""The cost of generated images in a training step; the gain of training one generator a class together."""

from collections.abc import Callable
from typing import Any

import torch

from isda_bench.benchmarks.timing import median_ratio, medians
from isda_bench.benchmarks.training_step import BATCH, training_step
from isda_bench.data.cifar import CIFAR10
from isda_bench.data.generated import GeneratedShare
from isda_bench.data.loader import Normalise
from isda_bench.gan.generated_images import Generated
from isda_bench.gan.networks import Generator
from isda_bench.gan.objectives import WGAN
from isda_bench.losses import CrossEntropy
from isda_bench.models.resnet import ResNet
from isda_bench.models.wide_resnet import WideResNet

CLASSES = 10


def generated_rows(device: torch.device, rounds: int = 15) -> list[dict[str, Any]]:
    """Time of the 21 generated images of a batch of 128, alone and as a part of the plain training step."""
    generators = {
        "one for all classes": Generator(CLASSES, 3, 32, conditional=True),
        "one a class": Generator(CLASSES, 3, 32, per_class=True),
    }
    draws = {name: _draw(generator.to(device).eval(), device) for name, generator in generators.items()}
    times = medians(draws, rounds)
    networks = {
        "resnet32": (ResNet(CLASSES, 32), max(rounds // 3, 1)),
        "wrn28_10": (WideResNet(CLASSES, 28, 10), 1),
    }
    rows = []
    for network, (model, steps) in networks.items():
        plain = training_step(CrossEntropy(CLASSES, model.feature_dim), model, device)
        step = medians({"step": plain}, steps)["step"]
        rows += [
            {
                "network": network,
                "generator": name,
                "step_ms": 1000 * step,
                "generated_ms": 1000 * seconds,
                "part_of_step": seconds / step,
            }
            for name, seconds in times.items()
        ]
    return rows


def per_class_rows(device: torch.device, rounds: int = 9) -> list[dict[str, Any]]:
    """A step of ten WGANs at once (critic and generator once each) beside ten single ones in a row."""
    sizes = {"1x8x8, width 16, batch 32": (1, 8, 16, 32), "3x32x32, width 16, batch 8": (3, 32, 16, 8)}
    rows = []
    for name, (channels, side, width, batch) in sizes.items():
        together = _wgan_step(True, channels, side, width, batch, device)
        alone = _wgan_step(False, channels, side, width, batch, device)

        def in_a_row(alone: Callable[[], None] = alone) -> None:
            for _ in range(CLASSES):
                alone()

        seconds = medians({"together": together}, max(rounds // 3, 1))["together"]
        ratio = median_ratio(in_a_row, together, rounds)
        rows.append(
            {"images": name, "ten_at_once_ms": 1000 * seconds, "in_a_row_over_at_once": ratio},
        )
    return rows


def _draw(generator: Generator, device: torch.device) -> Callable[[], object]:
    count = GeneratedShare("cgan").images(BATCH)
    normalise = Normalise(CIFAR10.mean, CIFAR10.std, device)
    mix = Generated(generator, CLASSES, BATCH, count, normalise)
    return lambda: mix.draw(count, device)


def _wgan_step(
    per_class: bool, channels: int, side: int, width: int, batch: int, device: torch.device
) -> Callable[[], None]:
    torch.manual_seed(0)
    gan = WGAN(CLASSES, channels, side, per_class=per_class, width=width).to(device)
    images = 2 * torch.rand(batch, gan.generator.groups, channels, side, side, device=device) - 1
    labels = torch.zeros(batch, dtype=torch.long, device=device)
    of_critic, of_generator = gan.optimizers()

    def step() -> None:
        for optimizer, losses in (
            (of_critic, lambda: gan.critic_loss(images, labels)),
            (of_generator, lambda: gan.generator_loss(batch)),
        ):
            optimizer.zero_grad()
            losses().sum().backward()
            optimizer.step()

    return step
