import pytest
import torch
from torch.nn import functional as F

from helpers.batches import gradients_agree, make_batch, outputs_of, value_and_gradients
from isda_bench.losses import CrossEntropy
from isda_bench.losses.center import Center

C, A = 5, 7


def make_loss(**settings):
    loss = Center(C, A, **settings).double()
    with torch.no_grad():
        loss.centers.normal_()
    return loss


def test_agrees_with_the_plain_form():
    batch, loss = make_batch(), make_loss(weight=0.3)
    total = 0.0
    for a, y in zip(batch.features, batch.targets, strict=True):
        scores = batch.weight @ a + batch.bias
        distance = a - loss.centers[y].detach()
        total += -(scores[y] - scores.exp().sum().log()) + 0.3 / 2 * distance @ distance
    value = value_and_gradients(loss, batch)[0]
    torch.testing.assert_close(value, total / len(batch.targets), atol=1e-10, rtol=0)


@pytest.mark.parametrize("weight", [0.0, 0.003, 2.0])
def test_the_centers_take_wen_s_step_whatever_the_weight(weight):
    batch, loss = make_batch(), make_loss(weight=weight, learning_rate=0.5)
    before = loss.centers.detach().clone()
    optimizer = torch.optim.SGD(
        [{"params": [torch.nn.Parameter(torch.zeros(1))]}, *loss.parameter_groups()],
        lr=0.1,
        momentum=0.9,
        weight_decay=1e-4,
        nesterov=True,
    )
    optimizer.param_groups[1]["lr"] *= 0.1  # the schedule's factor
    wanted = before.clone()
    for _ in range(2):  # twice: neither momentum nor decay
        start = wanted.clone()
        for j in range(C):
            own = batch.features[batch.targets == j]
            wanted[j] -= 0.5 * 0.1 * sum(start[j] - a for a in own) / (1 + len(own)) if len(own) else 0
        optimizer.zero_grad()
        loss(outputs_of(*batch[:3]), batch.targets, 0.0).backward()
        optimizer.step()
        torch.testing.assert_close(loss.centers.detach(), wanted, atol=1e-12, rtol=0)
    assert torch.equal(loss.centers[-1], before[-1])  # the absent class


def test_weight_zero_is_cross_entropy_to_the_bit():
    batch = make_batch()
    got, wanted = (value_and_gradients(loss, batch) for loss in (make_loss(weight=0.0), CrossEntropy(C, A)))
    assert all(torch.equal(g, w) for g, w in zip(got, wanted, strict=True))


def test_gradcheck_of_features_and_head():
    assert gradients_agree(make_loss(weight=0.3), make_batch(4))


def test_the_features_gradient_is_the_weighted_distance():
    batch, loss = make_batch(), make_loss(weight=0.3)
    features = batch.features.clone().requires_grad_()
    logits = torch.zeros(len(features), C, dtype=torch.float64)
    loss.compute(outputs_of(features, *batch[1:3])._replace(logits=logits), batch.targets, 0.0).backward()
    wanted = 0.3 * (batch.features - loss.centers[batch.targets]) / len(features)
    torch.testing.assert_close(features.grad, wanted.detach(), atol=1e-12, rtol=0)


def test_float32_centers_serve_float64_features():
    batch, loss = make_batch(), Center(C, A)
    value = loss(outputs_of(*batch[:3]), batch.targets, 0.0)
    value.backward()
    assert value.dtype == torch.float64 and loss.centers.grad.dtype == torch.float32
    plain = F.cross_entropy(outputs_of(*batch[:3]).logits, batch.targets)
    assert value.item() == pytest.approx((plain + 0.0015 * batch.features.square().sum(1).mean()).item())


@pytest.mark.parametrize("settings", [{"weight": -1.0}, {"learning_rate": -0.5}])
def test_wrong_settings_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        Center(C, A, **settings)
