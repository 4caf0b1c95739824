import math

import pytest
import torch

from helpers.batches import gradients_agree, make_batch, value_and_gradients
from isda_bench.losses import CrossEntropy
from isda_bench.losses.focal import Focal

C, A = 5, 7


def reference(batch, alpha, gamma):
    total = 0.0
    for a, y in zip(batch.features, batch.targets, strict=True):
        scores = [math.exp(w @ a + b) for w, b in zip(batch.weight, batch.bias, strict=True)]
        p = scores[y] / sum(scores)
        total += -alpha * (1 - p) ** gamma * math.log(p)
    return total / len(batch.targets)


@pytest.mark.parametrize("alpha, gamma", [(0.5, 1.0), (0.25, 2.0), (1.0, 0.5), (0.7, 0.0)])
def test_agrees_with_the_plain_form(alpha, gamma):
    batch = make_batch()
    value = value_and_gradients(Focal(C, A, alpha, gamma), batch)[0]
    assert value.item() == pytest.approx(reference(batch, alpha, gamma), abs=1e-10, rel=0)


@pytest.mark.parametrize("gamma", [1.0, 2.0, 0.5])
def test_gradcheck(gamma):
    assert gradients_agree(Focal(C, A, 0.5, gamma), make_batch(4))


def test_gamma_zero_is_alpha_times_cross_entropy():
    batch = make_batch()
    got = value_and_gradients(Focal(C, A, 0.3, 0.0), batch)
    wanted = [0.3 * part for part in value_and_gradients(CrossEntropy(C, A), batch)]
    torch.testing.assert_close(got, wanted, atol=1e-12, rtol=0)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_a_certain_sample_has_finite_gradients(gamma):
    batch = make_batch(dtype=torch.float32)
    certain = batch._replace(weight=1000 * batch.weight)
    assert all(part.isfinite().all() for part in value_and_gradients(Focal(C, A, 0.5, gamma), certain))


@pytest.mark.parametrize("settings", [{"alpha": 0.0}, {"gamma": -1.0}, {"gamma": math.nan}])
def test_wrong_settings_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        Focal(C, A, **settings)
