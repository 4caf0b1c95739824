"""Rows that are not finite stay out of the statistics; all others count as if those rows were missing."""

import pytest
import torch
from torch import nn

from helpers.loss_settings import COVARIANCES, A, C
from isda_bench.losses import ISDA, Outputs, class_statistics
from isda_bench.losses.center import Center

KEEPING = [name for name in COVARIANCES if name != "identity"]
BAD = {
    "NaN": torch.nan,
    "infinity": torch.inf,
    "minus infinity": -torch.inf,
    "a square that overflows": 1e25,
}
each_value = pytest.mark.parametrize("value", BAD.values(), ids=BAD)


def draw(seed, n=30, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, A, generator=generator).to(dtype) + 1, torch.arange(n) % (C - 1)


@pytest.mark.parametrize("covariance", KEEPING)
@each_value
@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("rows", [[3], [3, 4, 7], list(range(0, 30, 4)), list(range(30))], ids=len)
def test_the_statistics_are_those_without_the_rows(covariance, value, static, rows, monkeypatch):
    """Single rows, every row of a class, every row of a batch; as the first batch and as a later one."""
    monkeypatch.setattr(class_statistics, "needs_static_shapes", lambda values: static)
    got, wanted = (ISDA(C, A, covariance=covariance).statistics for _ in range(2))
    for seed in range(4):
        features, targets = draw(seed)
        kept = torch.ones(len(targets), dtype=torch.bool)
        if seed in (0, 2):
            kept[rows] = False
        if kept.any():
            wanted.update(features[kept], targets[kept])
        features[~kept, seed] = value
        got.update(features, targets)
    state = got.state_dict()
    assert torch.equal(state["count"], wanted.count)
    if covariance == "lowrank":  # directions are free up to their signs
        state = {"mean": got.mean, "sigma": torch.stack([got.covariance_of(j) for j in range(C)])}
        expected = {"mean": wanted.mean, "sigma": torch.stack([wanted.covariance_of(j) for j in range(C)])}
    else:
        expected = wanted.state_dict()
    torch.testing.assert_close(state, dict(expected), atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("covariance", KEEPING)
def test_a_class_without_finite_rows_keeps_its_values_to_the_bit(covariance):
    statistics = ISDA(C, A, covariance=covariance).statistics
    statistics.update(*draw(0))
    before = {name: value.clone() for name, value in statistics.state_dict().items()}
    features, targets = draw(1)
    features[:] = torch.nan
    statistics.update(features, targets)
    assert all(torch.equal(value, before[name]) for name, value in statistics.state_dict().items())


@pytest.mark.parametrize("covariance", KEEPING)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_loss_recovers_from_an_overflow_in_half_precision(covariance, dtype):
    head, loss = nn.Linear(A, C), ISDA(C, A, covariance=covariance)
    for step in range(3):
        features, targets = draw(step, dtype=torch.float32)
        features[0] *= 1e39 if step == 1 else 1
        with torch.autocast("cpu", dtype):
            features = features.to(dtype)
            value = loss(Outputs(features, head(features), head), targets, 0.5)
        assert value.isfinite() == (step != 1)
    assert all(buffer.isfinite().all() for buffer in loss.buffers())


@each_value
def test_the_centers_move_by_the_finite_rows(value):
    features, targets = draw(0)
    head, gradients = nn.Linear(A, C), []
    for rows in (slice(0, None), slice(1, None)):
        loss, batch = Center(C, A), features.clone()
        if rows.start == 0:
            batch[0, 2] = value
        loss(batch[rows], targets[rows], 0.5, head=head).backward()
        gradients.append(loss.centers.grad)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("covariance", [name for name in KEEPING if name != "lowrank"])
def test_no_value_is_read_back(covariance):
    """With tensors that have no values, a wait for one would be an error."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(class_statistics, "needs_static_shapes", lambda values: True)
        statistics = ISDA(C, A, covariance=covariance).statistics
        statistics.update(torch.randn(9, A), torch.zeros(9, dtype=torch.int64))
