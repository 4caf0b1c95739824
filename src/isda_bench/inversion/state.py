"""The progress of an inversion, and its wanted features."""

from typing import NamedTuple

import torch
from torch import Tensor

from isda_bench.data.loader import Normalise
from isda_bench.data.splits import stratified_order
from isda_bench.gan.networks import NOISE
from isda_bench.inversion.augmented_features import augmented, estimated
from isda_bench.inversion.descent import TRACED, FixedClasses, Point, Search, start_at
from isda_bench.inversion.fuse_batchnorm import fused
from isda_bench.inversion.setup import Setup


class State(NamedTuple):
    """The progress of an inversion, with all its draws and measurements: a resumed one repeats none."""

    indices: Tensor
    """Of the images in the training set, (N,)."""
    labels: Tensor
    images: Tensor
    """x (N, channels, H, W), normalised."""
    codes: Tensor
    """Inputs of infoGAN's generator beside the noise, (N, codes)."""
    features: Tensor
    """a (N, A)."""
    augmented: Tensor
    """atilde (N * augmentations, A)."""
    points: list[Point]
    """Of the steps that have started."""
    seconds: list[float]
    """That each of them took."""


def begin(setup: Setup) -> State:
    """Chooses the images, measures and augments their features, draws the first z."""
    options, device = setup.options, setup.device
    own = torch.Generator().manual_seed(options.seed)
    targets = setup.data.train.targets
    chosen = torch.from_numpy(stratified_order(targets.numpy(), options.seed)[: options.images])
    indices = chosen[targets[chosen].argsort(stable=True)]
    pixels, labels = next(iter(setup.data.train.batches([indices], options.seed)))
    images = Normalise(setup.dataset.mean, setup.dataset.std, device)(pixels.to(device))
    with torch.no_grad():
        features = setup.classifier.features(images)
    codes = 2 * torch.rand(len(indices), setup.generator.codes, generator=own) - 1
    z = torch.randn(len(indices), NOISE, generator=own).to(device)
    statistics = setup.statistics
    if statistics is None:
        statistics = estimated(setup.classifier, setup.dataset.num_classes, setup.training_images())
    covariances = [statistics.covariance_of(y) for y in labels.tolist()]
    wanted = augmented(features, covariances, setup.strength, options.augmentations, own)
    return State(indices, labels, images, codes, features, wanted, [start_at(z)], [0.0])


def search_of(setup: Setup, state: State, step: int) -> Search:
    """The objective of Step I (0) or II (1)."""
    draws = setup.options.augmentations if step else 1
    labels, codes, images = (
        part.repeat_interleave(draws, 0) for part in (state.labels, state.codes, state.images)
    )
    wanted = state.augmented if step else state.features
    generator = FixedClasses(setup.generator, labels, codes)
    eta = 0.0 if step else setup.options.eta
    classifier = fused(setup.classifier, state.images.to(setup.device))
    return Search(classifier, generator, setup.dataset, wanted, images, eta).to(setup.device)


def check_state(setup: Setup, state: State) -> None:
    """Compares a stored progress with the shapes and types that `begin` makes.

    Raises:
        ValueError, TypeError, AttributeError: it is none of this inversion.
    """
    options, n = setup.options, setup.options.images
    width, draws = setup.classifier.feature_dim, n * options.augmentations
    whole, single = torch.int64, torch.float32
    wanted: list[tuple[str, tuple[int, ...], torch.dtype]] = [
        ("indices", (n,), whole),
        ("labels", (n,), whole),
        ("images", (n, *setup.generator.shape), single),
        ("codes", (n, setup.generator.codes), single),
        ("features", (n, width), single),
        ("augmented", (draws, width), single),
    ]
    for name, shape, dtype in wanted:
        _check_tensor(getattr(state, name), name, shape, dtype)
    for name, end in (("indices", len(setup.data.train.targets)), ("labels", setup.dataset.num_classes)):
        values = getattr(state, name)
        if values.min() < 0 or values.max() >= end:
            raise ValueError(f"{name} should lie in 0..{end - 1}")
    if not len(state.points) == len(state.seconds) <= 2 or not all(s >= 0 for s in state.seconds):
        raise ValueError("points and seconds should be those of one or two steps")
    for point, count in zip(state.points, (n, draws), strict=False):
        done = len(point.trace)
        _check_tensor(point.z, "z", (count, NOISE), single)
        _check_tensor(point.velocity, "velocity", (count, NOISE), single)
        _check_tensor(point.trace, "trace", (min(done, options.iterations), len(TRACED), count), single)


def _check_tensor(value: Tensor, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    if tuple(value.shape) != shape or value.dtype != dtype:
        raise ValueError(f"{name} should be of shape {shape} and {dtype}")
