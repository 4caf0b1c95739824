import pytest
import torch

from helpers.isda_reference import closed_form
from isda_bench.losses import class_statistics
from isda_bench.losses.class_statistics import ClassStatistics
from isda_bench.losses.covariances import DiagonalCovariance, IdentityCovariance, SharedCovariance
from isda_bench.losses.low_rank_covariance import LowRankCovariance

C, A = 5, 7


def draw(n, dtype=torch.float64, classes=C):
    return torch.randn(n, A, dtype=torch.float64).to(dtype) * 2 + 1, torch.randint(classes, (n,))


@pytest.mark.parametrize("sizes", [[40], [1] * 20, [8, 1, 30, 3], [2, 2, 2, 64]])
@pytest.mark.parametrize("seed", range(3))
def test_any_sequence_of_batches_gives_the_closed_form(sizes, seed):
    torch.manual_seed(seed)
    batches = [draw(n, classes=C - 1) for n in sizes]  # the last class never comes
    full, diagonal, shared = ClassStatistics(C, A), DiagonalCovariance(C, A), SharedCovariance(C, A)
    for features, targets in batches:
        for statistics in (full, diagonal, shared):
            statistics.update(features, targets)
    features, targets = (torch.cat(parts) for parts in zip(*batches, strict=True))
    count, mean, covariance = closed_form(features, targets, C)
    assert torch.equal(full.count, count) and torch.equal(diagonal.count, count)
    torch.testing.assert_close(full.mean, mean, atol=1e-10, rtol=0)
    torch.testing.assert_close(full.covariance, covariance, atol=1e-10, rtol=0)
    variances = covariance.diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(diagonal.covariance, variances, atol=1e-10, rtol=0)
    whole = torch.cov(features.T, correction=0)[None]
    torch.testing.assert_close(shared.covariance, whole, atol=1e-10, rtol=0)


@pytest.mark.parametrize("make", [ClassStatistics, DiagonalCovariance])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("fixed", [False, True])
def test_an_absent_class_keeps_its_values_to_the_bit(make, dtype, fixed, monkeypatch):
    monkeypatch.setattr(class_statistics, "needs_static_shapes", lambda values: fixed)
    statistics = make(C, A)
    for n in (50, 30):
        statistics.update(*draw(n, dtype))
    before = {name: value.clone() for name, value in statistics.state_dict().items()}
    features, targets = draw(20, dtype, classes=3)
    statistics.update(features, targets)
    for name, value in statistics.state_dict().items():
        assert torch.equal(value[3:], before[name][3:]), name
        assert not torch.equal(value[:3], before[name][:3]), name


def test_one_sample_is_its_own_mean_without_spread():
    statistics = ClassStatistics(C, A)
    features, _ = draw(1)
    statistics.update(features, torch.tensor([2]))
    assert torch.equal(statistics.mean[2], features[0])
    assert statistics.covariance.abs().max() == 0
    assert statistics.count.tolist() == [0, 0, 1, 0, 0]


def test_fixed_shapes_give_the_same_as_one_class_at_a_time(monkeypatch):
    here, there = ClassStatistics(C, A), ClassStatistics(C, A)
    for n in (30, 1, 17):
        features, targets = draw(n, classes=C - 1)
        here.update(features, targets)
        with monkeypatch.context() as patch:
            patch.setattr(class_statistics, "needs_static_shapes", lambda values: True)
            there.update(features, targets)
    torch.testing.assert_close(here.state_dict(), there.state_dict(), atol=1e-12, rtol=0)


def test_the_state_is_float32_until_float64_features_come():
    statistics = ClassStatistics(C, A)
    statistics.update(*draw(10, torch.float32))
    assert statistics.mean.dtype == statistics.covariance.dtype == torch.float32
    statistics.update(*draw(10, torch.float64))
    assert statistics.mean.dtype == statistics.covariance.dtype == torch.float64
    statistics.update(*draw(10, torch.float32))
    assert statistics.covariance.dtype == torch.float64
    assert statistics.count.dtype == torch.int64


def test_float32_stays_near_the_closed_form_over_many_batches():
    batches = [draw(32, torch.float32) for _ in range(200)]
    statistics = ClassStatistics(C, A)
    for features, targets in batches:
        statistics.update(features, targets)
    features, targets = (torch.cat(parts) for parts in zip(*batches, strict=True))
    _, mean, covariance = closed_form(features.double(), targets, C)
    torch.testing.assert_close(statistics.mean.double(), mean, atol=1e-5, rtol=0)
    torch.testing.assert_close(statistics.covariance.double(), covariance, atol=1e-4, rtol=0)


def test_no_gradient_flows_into_the_statistics():
    statistics = ClassStatistics(C, A)
    features, targets = draw(10)
    statistics.update(features.requires_grad_(), targets)
    assert not statistics.covariance.requires_grad and not statistics.mean.requires_grad


def test_the_diagonal_keeps_c_times_a_numbers():
    assert {name: tuple(v.shape) for name, v in DiagonalCovariance(C, A).state_dict().items()} == {
        "count": (C,),
        "mean": (C, A),
        "covariance": (C, A),
    }


def test_each_kind_has_its_covariance_and_its_spectrum():
    torch.manual_seed(0)
    features, targets = draw(60, classes=C - 1)
    covariance = closed_form(features, targets, C)[2]
    whole = torch.cov(features.T, correction=0)
    wanted = {
        ClassStatistics(C, A): covariance,
        LowRankCovariance(C, A, rank=A): covariance,
        DiagonalCovariance(C, A): torch.diag_embed(covariance.diagonal(dim1=1, dim2=2)),
        SharedCovariance(C, A): whole[None],
    }
    for statistics, matrices in wanted.items():
        statistics.update(features, targets)
        of_classes = torch.stack([statistics.covariance_of(label) for label in range(C)])
        torch.testing.assert_close(of_classes, matrices.expand(C, A, A), atol=1e-10, rtol=0)
        eigenvalues = torch.linalg.eigvalsh(matrices).flip(1)
        torch.testing.assert_close(statistics.spectrum(), eigenvalues, atol=1e-10, rtol=0)
    assert torch.equal(IdentityCovariance(C, A).covariance_of(3), torch.eye(A))
