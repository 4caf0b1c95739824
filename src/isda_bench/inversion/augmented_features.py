"""Features augmented by ISDA, their covariances, and the training images near them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from isda_bench.data.loader import Loader
from isda_bench.losses.class_statistics import ClassStatistics, OnlineStatistics
from isda_bench.losses.covariances import IdentityCovariance
from isda_bench.models.base import Classifier

Statistics = OnlineStatistics | IdentityCovariance


def augmented(
    features: Tensor, covariances: Sequence[Tensor], strength: float, draws: int, generator: torch.Generator
) -> Tensor:
    """Features drawn from N(a_i, lambda Sigma_i), (N * draws, A), those of one image in a row.

    Args:
        features: a (N, A).
        covariances: Sigma_i (A, A) of each of the N, of any rank.
        strength: lambda.
        draws: of each.
        generator: on the CPU, so that all devices draw the same.
    """
    n, dim = features.shape
    noise = torch.randn(n, draws, dim, dtype=torch.float64, generator=generator)
    roots = torch.stack([_root(covariance) for covariance in covariances])
    moved = features.double().cpu()[:, None] + strength**0.5 * noise @ roots.mT
    return moved.flatten(0, 1).to(features)


def _root(covariance: Tensor) -> Tensor:
    """R (A, A), float64, with R R^T = Sigma, whatever its rank: there Cholesky's would not exist."""
    values, vectors = torch.linalg.eigh(covariance.double().cpu())
    return vectors * values.clamp(min=0).sqrt()  # rounding leaves some below 0


@torch.no_grad()
def estimated(classifier: Classifier, num_classes: int, batches: Loader) -> ClassStatistics:
    """Eq. 1-3 over the features of all images in `batches`, in float64."""
    statistics = ClassStatistics(num_classes, classifier.feature_dim).to(batches.device)
    for images, targets in batches:
        statistics.update(classifier.features(images).double(), targets)
    return statistics


@torch.no_grad()
def nearest(
    classifier: Classifier, batches: Loader, wanted: Tensor, own: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """The images whose features are nearest to each of `wanted` (M, A), without the one it was made from.

    Args:
        classifier: gives the features.
        batches: the images, in order.
        wanted: features.
        own: index of the image that each was made from, (M,).
        count: how many.

    Returns:
        Indices and distances (M, count), the nearest first.
    """
    features = torch.cat([classifier.features(images) for images, _ in batches])
    distances = torch.cdist(wanted.double(), features.double())
    distances.scatter_(1, own.to(wanted.device)[:, None], torch.inf)
    found = distances.topk(count, largest=False)
    return found.indices.cpu(), found.values.cpu()
