import math

import pytest
import torch

from helpers.batches import gradients_agree, make_batch, value_and_gradients
from isda_bench.losses import CrossEntropy
from isda_bench.losses.large_margin import LargeMargin, margin_cosine

C, A = 5, 7
MARGINS = pytest.mark.parametrize("margin", [1, 2, 3, 4, 5])


def psi(theta, margin):
    k = min(int(theta * margin / math.pi), margin - 1)
    return (-1) ** k * math.cos(margin * theta) - 2 * k


def reference(batch, margin, annealing):
    total = 0.0
    for a, y in zip(batch.features, batch.targets.tolist(), strict=True):
        z = [(w @ a + b).item() for w, b in zip(batch.weight, batch.bias, strict=True)]
        length = (a.norm() * batch.weight[y].norm()).item()
        theta = math.acos((batch.weight[y] @ a).item() / length)
        z[y] = length * (annealing * math.cos(theta) + psi(theta, margin)) / (1 + annealing)
        z[y] += batch.bias[y].item()
        total += math.log(sum(math.exp(value) for value in z)) - z[y]
    return total / len(batch.targets)


@MARGINS
@pytest.mark.parametrize("progress", [0.0, 0.4, 1.0])
def test_agrees_with_the_plain_form(margin, progress):
    batch = make_batch(60)
    value = value_and_gradients(LargeMargin(C, A, margin), batch, progress)[0]
    annealing = 1000 * (1 + 0.3 * progress) ** -45
    assert value.item() == pytest.approx(reference(batch, margin, annealing), abs=1e-10, rel=0)


@MARGINS
def test_psi_is_continuous_decreasing_and_as_defined(margin):
    theta = torch.linspace(0, math.pi, 20_001, dtype=torch.float64)
    values = margin_cosine(theta.cos(), margin)
    wanted = torch.tensor([psi(t, margin) for t in theta.tolist()], dtype=torch.float64)
    torch.testing.assert_close(values, wanted, atol=1e-10, rtol=0)
    steps = values.diff()
    assert (steps <= 1e-12).all()
    assert steps.abs().max() < 1.1 * margin * math.pi / 20_000  # |dpsi / dtheta| <= m: no jump
    assert values[0] == 1 and values[-1].item() == pytest.approx(1 - 2 * margin)
    assert (values <= theta.cos() + 1e-12).all()


def test_margin_one_is_cross_entropy_to_the_bit():
    batch = make_batch()
    got, wanted = (value_and_gradients(loss, batch) for loss in (LargeMargin(C, A, 1), CrossEntropy(C, A)))
    assert got[0] == wanted[0]
    torch.testing.assert_close(got, wanted, atol=1e-12, rtol=0)


@pytest.mark.parametrize("margin", [2, 4])
def test_gradcheck(margin):
    assert gradients_agree(LargeMargin(C, A, margin), make_batch(4), progress=1.0)


def test_annealing_falls_from_start_to_end():
    loss = LargeMargin(C, A, annealing_end=5.0)
    values = [loss.annealing(t / 10) for t in range(11)]
    assert values[0] == 1000 and values[-1] == 5
    assert values == sorted(values, reverse=True)
    as_tensors = [loss.annealing(torch.tensor(t / 10, dtype=torch.float64)).item() for t in range(11)]
    assert as_tensors == pytest.approx(values)
    assert LargeMargin(C, A, annealing_start=0.0).annealing(0.0) == 0


def test_parallel_and_vanishing_features_have_finite_gradients():
    batch = make_batch(dtype=torch.float32)
    features = batch.weight[batch.targets] * torch.linspace(-1, 1, len(batch.targets))[:, None]
    loss = LargeMargin(C, A)
    assert all(
        part.isfinite().all() for part in value_and_gradients(loss, batch._replace(features=features), 1.0)
    )


@pytest.mark.parametrize("settings", [{"margin": 0}, {"annealing_end": -1.0}])
def test_wrong_settings_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        LargeMargin(C, A, **settings)
