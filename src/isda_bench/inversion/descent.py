"""The descent of both steps (supplement C, Eq. 7 and 8)."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from isda_bench.data.base import DataSet
from isda_bench.gan.networks import NOISE, Generator
from isda_bench.models.base import Classifier

STAGES = 4  # of equal length; the learning rate is divided by 10 from one to the next
CHUNK = 50  # iterations between two looks at the device
TRACED = ("features", "pixels", "mean", "std")
"""Stored for each iteration and image: ||f - a||^2, ||G - x||^2, and how far zhat's mean is from 0 and
its standard deviation from 1."""


class Descent(NamedTuple):
    """How one step of the algorithm descends."""

    learning_rate: float
    """Of the first quarter of the iterations; a tenth of it in the second, and so on."""
    iterations: int = 10_000
    momentum: float = 0.9
    weight_decay: float = 1e-4

    def stage(self, iteration: int) -> int:
        """The quarter, 0 to 3, in which `iteration` (from 0) lies."""
        return iteration * STAGES // self.iterations

    def rates(self) -> list[float]:
        """The learning rate of each quarter."""
        return [self.learning_rate / 10**stage for stage in range(STAGES)]


STEPS = (Descent(learning_rate=10.0), Descent(learning_rate=1.0))
"""Step I and Step II, as in the supplement."""


class Point(NamedTuple):
    """The state of a descent."""

    z: Tensor
    """(N, 100)."""
    velocity: Tensor
    """Of the momentum, (N, 100)."""
    trace: Tensor
    """TRACED of each iteration done, before its update: (iterations, 4, N), on the CPU."""


def start_at(z: Tensor) -> Point:
    """The beginning of a descent."""
    return Point(z, torch.zeros_like(z), torch.empty(0, len(TRACED), len(z)))


def standardised(z: Tensor) -> Tensor:
    """The vectors zhat of z (N, 100): each vector less its mean, over its (biased) standard deviation."""
    centred = z - z.mean(1, keepdim=True)
    return centred / centred.square().mean(1, keepdim=True).sqrt()


class FixedClasses(nn.Module):
    """A generator for images of classes that stay: maps noise (N, 100) to them, in fixed shapes.

    `Generator.generate` has to find out how many images there are of a class, for which a device waits.

    Args:
        generator: trained.
        labels: wanted classes (N,).
        codes: (N, codes).
    """

    labels: Tensor
    codes: Tensor
    slots: Tensor

    def __init__(self, generator: Generator, labels: Tensor, codes: Tensor) -> None:
        super().__init__()
        self.generator = generator
        own = nn.functional.one_hot(labels.cpu(), generator.num_classes)
        rows = (own.cumsum(0) * own).sum(1) - 1  # the k-th image of a class is its generator's k-th
        self.rows = int(rows.max()) + 1
        self.register_buffer("labels", labels.cpu())
        self.register_buffer("codes", codes)
        self.register_buffer("slots", rows * generator.groups + labels.cpu())

    def forward(self, noise: Tensor) -> Tensor:
        """Images (N, channels, H, W) in [-1, 1], of the noise's type."""
        if not self.generator.per_class:
            return self.generator(self.generator.concatenate_inputs(noise, self.labels, self.codes))[:, 0]
        table = noise.new_zeros(self.rows * self.generator.groups, NOISE).index_copy(0, self.slots, noise)
        return self.generator(table.unflatten(0, (self.rows, -1))).flatten(0, 1)[self.slots]


class Search(nn.Module):
    """The objective of Eq. 7, or of Eq. 8 with eta 0.

    Args:
        classifier: f, in evaluation mode.
        images: G for the wanted classes, in evaluation mode.
        dataset: whose normalisation f was trained with.
        wanted_features: a (N, A).
        wanted_images: x (N, channels, H, W), normalised.
        eta: weight of the second term.
    """

    factor: Tensor
    offset: Tensor
    wanted_features: Tensor
    wanted_images: Tensor

    def __init__(
        self,
        classifier: Classifier,
        images: FixedClasses,
        dataset: DataSet,
        wanted_features: Tensor,
        wanted_images: Tensor,
        eta: float,
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.images = images
        self.eta = eta
        scale, shift = (torch.tensor(x)[:, None, None] for x in (dataset.std, dataset.mean))
        self.register_buffer("factor", 127.5 / scale)
        self.register_buffer("offset", (127.5 - shift) / scale)
        self.register_buffer("wanted_features", wanted_features)
        self.register_buffer("wanted_images", wanted_images)

    def image(self, zhat: Tensor) -> Tensor:
        """G(zhat), normalised, (N, channels, H, W)."""
        return self.images(zhat) * self.factor + self.offset

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The objective, a scalar, and TRACED (4, N)."""
        zhat = standardised(z)
        image = self.image(zhat)
        features = (self.classifier.features(image) - self.wanted_features).square().sum(1)
        pixels = (image - self.wanted_images).square().flatten(1).sum(1)
        mean, std = zhat.mean(1).abs(), (zhat.std(1, correction=0) - 1).abs()
        return (features + self.eta * pixels).sum(), torch.stack([features, pixels, mean, std])


Iteration = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


def iteration_of(search: Search, descent: Descent, compiled: bool = False) -> Iteration:
    """One update, (z, velocity, learning rate) -> (z, velocity, TRACED): fixed shapes, no waiting.

    Args:
        search: the objective.
        descent: for its momentum and weight decay.
        compiled: whether it is compiled, as one graph.
    """
    gradient = compilable_gradient if compiled else eager_gradient

    def iteration(z: Tensor, velocity: Tensor, rate: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        slope, traced = gradient(search, z)
        velocity = descent.momentum * velocity + slope + descent.weight_decay * z
        return z - rate * velocity, velocity, traced

    return torch.compile(iteration, fullgraph=True, dynamic=False) if compiled else iteration


def eager_gradient(search: Search, z: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient of the objective by z (N, ...), and TRACED (4, N)."""
    z = z.detach().requires_grad_()
    objective, traced = search(z)
    (slope,) = torch.autograd.grad(objective, z)
    return slope, traced.detach()


def compilable_gradient(search: Search, z: Tensor) -> tuple[Tensor, Tensor]:
    """As `eager_gradient`, in a form that compiles; uncompiled it takes a fifth longer."""
    slope, (_, traced) = torch.func.grad_and_value(search, has_aux=True)(z)
    return slope, traced


def descend(iteration: Iteration, descent: Descent, point: Point) -> Iterator[Point]:
    """Descends from `point` to the end; gives where it stands after each CHUNK of iterations."""
    rates = torch.tensor(descent.rates(), dtype=point.z.dtype).to(point.z.device)
    while len(point.trace) < descent.iterations:
        z, velocity, before = point
        rows = []
        for i in range(len(before), min(len(before) + CHUNK, descent.iterations)):
            z, velocity, traced = iteration(z, velocity, rates[descent.stage(i)])
            rows.append(traced)
        point = Point(z, velocity, torch.cat([before, torch.stack(rows).cpu()]))
        yield point
