"""Features drawn around a feature with the covariance of its class."""

import pytest
import torch

from isda_bench.inversion.augmented_features import augmented
from isda_bench.losses import ISDA

DIM, CLASSES = 6, 3


def statistics_of(covariance):
    """Statistics of features of rank 2, of each class its own."""
    own = torch.Generator().manual_seed(1)
    axes = torch.randn(CLASSES, 2, DIM, generator=own)
    loss = ISDA(CLASSES, DIM, covariance=covariance, **({"rank": 2} if covariance == "lowrank" else {}))
    for _ in range(3):
        targets = torch.randint(CLASSES, (8,), generator=own)
        features = (torch.randn(8, 1, 2, generator=own) @ axes[targets])[:, 0]
        loss.statistics.update(features, targets)
    return loss.statistics


@pytest.mark.parametrize("covariance", ["full", "diagonal", "shared", "identity", "lowrank"])
def test_augmented_features_have_the_wanted_mean_and_covariance(covariance):
    """z-scores of mean and covariance over many draws; their fourth moments are the normal's (Isserlis)."""
    statistics = statistics_of(covariance)
    wanted = statistics.covariance_of(1).double()
    if covariance == "full":
        assert torch.linalg.matrix_rank(wanted, rtol=1e-5) < DIM, "should be rank-deficient"
    features, draws, strength = torch.randn(2, DIM, dtype=torch.float64), 40_000, 0.7
    own = torch.Generator().manual_seed(2)
    sigmas = [wanted, statistics.covariance_of(2).double()]
    drawn = augmented(features, sigmas, strength, draws, own).unflatten(0, (2, draws))
    for a, sigma, sample in zip(features, sigmas, drawn, strict=True):
        target = strength * sigma
        variances = target.diagonal()
        tiny = 1e-12 + 1e-6 * variances.max()
        assert ((sample.mean(0) - a).abs() <= 5 * (variances / draws).sqrt() + tiny).all()
        deviation = (target.square() + variances.outer(variances)).sqrt() / draws**0.5
        assert ((sample.T.cov() - target).abs() <= 5 * deviation + tiny).all()


def test_a_covariance_of_zero_moves_nothing():
    features = torch.randn(2, DIM)
    drawn = augmented(features, [torch.zeros(DIM, DIM)] * 2, 0.5, 3, torch.Generator())
    assert torch.equal(drawn, features.repeat_interleave(3, 0))
