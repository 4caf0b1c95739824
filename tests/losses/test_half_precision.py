"""Parameters in half precision: statistics and losses stay in float32."""

import pytest
import torch
from torch import nn

from helpers.batches import make_batch
from helpers.loss_settings import A, C, build, each_covariance, each_setting
from isda_bench.losses import ISDA

each_dtype = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])


def gradients(loss, dtype, steps=3):
    """Values, and gradients of features and head, over a few steps, in `dtype`."""
    torch.manual_seed(0)
    head, found = nn.Linear(A, C).to(dtype), []
    for step in range(steps):
        batch = make_batch(dtype=torch.float32, seed=step)
        features = batch.features.to(dtype).requires_grad_()
        value = loss(features, batch.targets, 0.5, head=head)
        found.append((value.detach(), *torch.autograd.grad(value, [features, *head.parameters()])))
    return found


@each_setting
@each_dtype
def test_half_precision_parameters_train_with_every_loss(path, settings, dtype):
    loss = build(path, **settings)
    for value, *others in gradients(loss, dtype):
        assert value.dtype == torch.float32 and value.isfinite()
        assert all(gradient.dtype == dtype and gradient.isfinite().all() for gradient in others)


@each_covariance
@each_dtype
def test_isda_agrees_with_float32_parameters_of_the_same_values(covariance, dtype):
    head, wide = nn.Linear(A, C).to(dtype), nn.Linear(A, C)
    wide.load_state_dict({name: value.float() for name, value in head.state_dict().items()})
    narrow, full = ISDA(C, A, 2.0, covariance), ISDA(C, A, 2.0, covariance)
    for step in range(3):
        batch = make_batch(dtype=torch.float32, seed=step)
        features, logits = batch.features.to(dtype), torch.randn(len(batch.targets), C).to(dtype)
        got = narrow(features, batch.targets, 1.0, head=head, logits=logits)
        wanted = full(features.float(), batch.targets, 1.0, head=wide, logits=logits.float())
        torch.testing.assert_close(got, wanted, atol=0, rtol=0)
        got, wanted = (torch.autograd.grad(*pair)[0] for pair in ((got, head.weight), (wanted, wide.weight)))
        assert got.dtype == dtype and wanted.abs().max() > 1e-3  # of the quadratic form alone
        torch.testing.assert_close(got, wanted.to(dtype), atol=0, rtol=0)
    torch.testing.assert_close(narrow.state_dict(), full.state_dict(), atol=0, rtol=0)


@each_covariance
@each_dtype
def test_a_converted_loss_keeps_its_statistics_in_float32(covariance, dtype):
    loss, twin = ISDA(C, A, covariance=covariance), ISDA(C, A, covariance=covariance)
    gradients(loss, dtype, 1)
    gradients(twin, dtype, 1)
    loss.to(dtype)
    assert all(torch.equal(value, twin.state_dict()[name]) for name, value in loss.state_dict().items())
    assert all(buffer.dtype != dtype for buffer in loss.buffers())
    for got, wanted in zip(gradients(loss, dtype), gradients(twin, dtype), strict=True):
        assert all(torch.equal(g, w) for g, w in zip(got, wanted, strict=True))
    assert loss.double() is loss
    assert all(buffer.dtype in (torch.float64, torch.int64) for buffer in loss.buffers())
