import math

import pytest
import torch

from helpers.batches import gradients_agree, make_batch, value_and_gradients
from isda_bench.losses import CrossEntropy
from isda_bench.losses.lq import Lq

C, A = 5, 7


def true_class_probabilities(batch):
    p = []
    for a, y in zip(batch.features, batch.targets, strict=True):
        scores = [math.exp(w @ a + b) for w, b in zip(batch.weight, batch.bias, strict=True)]
        p.append(scores[y] / sum(scores))
    return p


@pytest.mark.parametrize("q", [0.1, 0.4, 0.7, 1.0])
def test_agrees_with_the_plain_form(q):
    batch = make_batch()
    value = value_and_gradients(Lq(C, A, q), batch)[0]
    p = true_class_probabilities(batch)
    assert value.item() == pytest.approx(sum((1 - x**q) / q for x in p) / len(p), abs=1e-10, rel=0)


def test_gradcheck():
    assert gradients_agree(Lq(C, A), make_batch(4))


def test_q_one_is_one_minus_p():
    batch = make_batch()
    p = true_class_probabilities(batch)
    value = value_and_gradients(Lq(C, A, 1.0), batch)[0].item()
    assert value == pytest.approx(1 - sum(p) / len(p), abs=1e-12, rel=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_tiny_q_is_cross_entropy(dtype):
    batch = make_batch(dtype=dtype)
    got = value_and_gradients(Lq(C, A, 1e-8), batch)
    torch.testing.assert_close(got, value_and_gradients(CrossEntropy(C, A), batch), atol=1e-6, rtol=0)


@pytest.mark.parametrize("q", [0.0, -0.4, 1.1])
def test_a_wrong_q_is_refused(q):
    with pytest.raises(ValueError, match="q\\n"):
        Lq(C, A, q=q)
