import math

import pytest
import torch

from helpers.batches import gradients_agree, make_batch, value_and_gradients
from helpers.large_margin_reference import large_margin
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
    value = value_and_gradients(LargeMargin(C, A, margin, annealing_decay=0.3), batch, progress)[0]
    annealing = 1000 * (1 + 0.3 * progress) ** -45
    assert value.item() == pytest.approx(reference(batch, margin, annealing), abs=1e-10, rel=0)


def at_angles(batch, thetas, length=1.0):
    """The batch with features of this length at these angles to the weight of their class."""
    own = batch.weight[batch.targets]
    axis = own / own.norm(dim=1, keepdim=True)
    side = batch.features - (batch.features * axis).sum(1, keepdim=True) * axis
    side = side / side.norm(dim=1, keepdim=True)
    features = length * (thetas.cos()[:, None] * axis + thetas.sin()[:, None] * side)
    return batch._replace(features=features)


@pytest.mark.parametrize("margin", [1, 2, 3, 4])
@pytest.mark.parametrize("annealing", [0.0, 5.0, 1000.0])
@pytest.mark.parametrize("length", [1e-4, 1.0, 30.0])
def test_value_and_gradients_in_every_segment_agree_with_the_paper_s_formula(margin, annealing, length):
    """Angles inside each segment k = 0..m-1, close to both of its ends, and near 0 and pi."""
    edges = torch.arange(margin + 1, dtype=torch.float64) * math.pi / margin
    inside = edges[:-1, None] + torch.tensor([1e-3, 0.3, 0.5, 0.8, 1 - 1e-3]) * math.pi / margin
    thetas = inside.flatten().repeat(3)
    batch = at_angles(make_batch(len(thetas)), thetas, length)
    loss = LargeMargin(C, A, margin, annealing_start=annealing, annealing_end=annealing)
    got = value_and_gradients(loss, batch)
    wanted = large_margin(*(part.numpy() for part in batch), margin, annealing)
    for found, expected in zip(got, wanted, strict=True):
        expected = torch.as_tensor(expected, dtype=torch.float64)
        torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-9)


@pytest.mark.parametrize("margin", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_vectors_of_zeros_have_the_loss_of_equal_logits_and_finite_gradients(margin, dtype):
    batch = make_batch(dtype=dtype)
    for zeros in ({"features": 0 * batch.features}, {"weight": 0 * batch.weight}):
        parts = batch._replace(bias=0 * batch.bias, **zeros)
        value, *gradients = value_and_gradients(LargeMargin(C, A, margin, annealing_decay=0.3), parts, 1.0)
        assert value.item() == pytest.approx(math.log(C), rel=1e-6)
        assert all(gradient.isfinite().all() for gradient in gradients)


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
    loss = LargeMargin(C, A, annealing_decay=0.3, annealing_end=5.0)
    values = [loss.annealing(t / 10) for t in range(11)]
    assert values[0] == 1000 and values[-1] == 5
    assert values == sorted(values, reverse=True)
    as_tensors = [loss.annealing(torch.tensor(t / 10, dtype=torch.float64)).item() for t in range(11)]
    assert as_tensors == pytest.approx(values)
    assert LargeMargin(C, A, annealing_start=0.0).annealing(0.0) == 0


def test_parallel_and_vanishing_features_have_finite_gradients():
    batch = make_batch(dtype=torch.float32)
    features = batch.weight[batch.targets] * torch.linspace(-1, 1, len(batch.targets))[:, None]
    loss = LargeMargin(C, A, annealing_decay=0.3)
    assert all(
        part.isfinite().all() for part in value_and_gradients(loss, batch._replace(features=features), 1.0)
    )


@pytest.mark.parametrize("settings", [{"margin": 0}, {"annealing_end": -1.0}])
def test_wrong_settings_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        LargeMargin(C, A, **settings)
