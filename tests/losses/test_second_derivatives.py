"""Gradients of gradients: gradient penalties and meta-learning through a loss."""

import pytest
import torch
from torch import distributed

from helpers.batches import make_batch, outputs_of
from helpers.loss_settings import A, C, build, each_covariance, each_setting
from isda_bench.losses import ISDA, isda
from isda_bench.runtime.distributed import gather_rows


def seasoned(loss):
    batch = make_batch(60, seed=9)
    loss(outputs_of(*batch[:3]), batch.targets, 0.0)
    return loss.eval()


@each_setting
def test_gradgradcheck(path, settings):
    loss, batch = seasoned(build(path, **settings)), make_batch(4)
    leaves = [tensor.clone().requires_grad_() for tensor in batch[:3]]
    assert torch.autograd.gradgradcheck(
        lambda *parts: loss(outputs_of(*parts), batch.targets, 0.6), leaves, atol=1e-7
    )


@pytest.mark.parametrize("whole_limit", [isda.WHOLE_LIMIT, 0], ids=["whole", "class by class"])
def test_gradgradcheck_of_the_full_covariance_on_both_paths_and_in_training(whole_limit, monkeypatch):
    monkeypatch.setattr(isda, "WHOLE_LIMIT", whole_limit)
    loss, batch = seasoned(ISDA(C, A, 2.0)).train(), make_batch(6)
    state = {name: value.clone() for name, value in loss.state_dict().items()}

    def in_training(weight, bias):
        for name, buffer in loss.named_buffers():
            buffer.copy_(state[name])
        return loss(outputs_of(batch.features, weight, bias), batch.targets, 0.6)

    leaves = [tensor.clone().requires_grad_() for tensor in batch[1:3]]
    assert torch.autograd.gradgradcheck(in_training, leaves, atol=1e-7)


@each_covariance
def test_a_graph_that_is_kept_gives_the_gradient_again(covariance):
    loss, batch = seasoned(ISDA(C, A, covariance=covariance)), make_batch()
    leaves = [tensor.clone().requires_grad_() for tensor in batch[:3]]
    value = loss(outputs_of(*leaves), batch.targets, 0.6)
    first = torch.autograd.grad(value, leaves, retain_graph=True)
    created = torch.autograd.grad(value, leaves, create_graph=True)
    again = torch.autograd.grad(value, leaves)
    assert all(torch.equal(a, b) for a, b in zip(again, first, strict=True))
    torch.testing.assert_close(created, first, atol=1e-12, rtol=0)


@each_covariance
@pytest.mark.parametrize("progress", [0.0, 0.6])
def test_the_progress_has_its_gradient_too(covariance, progress):
    """A strength that is learned: against finite differences; second derivatives too."""
    loss, batch = seasoned(ISDA(C, A, 2.0, covariance)), make_batch(6)
    leaves = [tensor.clone().requires_grad_() for tensor in batch[:3]]
    value = torch.tensor(progress, dtype=torch.float64, requires_grad=True)

    def of(value, *parts):
        return loss(outputs_of(*parts), batch.targets, value)

    (got,) = torch.autograd.grad(of(value, *leaves), value)
    step = 1e-4
    points = [of(progress + k * step, *leaves).item() for k in range(3)]  # 0 is the lowest progress
    wanted = (-1.5 * points[0] + 2 * points[1] - 0.5 * points[2]) / step
    assert got.item() == pytest.approx(wanted, abs=1e-6) and abs(wanted) > 1e-2
    plain = torch.autograd.grad(of(progress, *leaves), leaves)
    torch.testing.assert_close(torch.autograd.grad(of(value, *leaves), leaves), plain, atol=1e-12, rtol=0)
    if progress:
        assert torch.autograd.gradgradcheck(of, (value, *leaves), atol=1e-7)


@each_covariance
def test_two_batches_before_one_backward_pass(covariance):
    """Statistics change between a forward pass and its backward pass: the gradients do not."""
    loss, batch, later = ISDA(C, A, covariance=covariance), make_batch(), make_batch(seed=1)
    leaves = [tensor.clone().requires_grad_() for tensor in batch[:3]]
    alone = torch.autograd.grad(loss(outputs_of(*leaves), batch.targets, 0.6), leaves)
    loss = ISDA(C, A, covariance=covariance)
    value = loss(outputs_of(*leaves), batch.targets, 0.6)
    loss(outputs_of(*later[:3]), later.targets, 0.6)
    got = torch.autograd.grad(value, leaves)
    assert all(torch.equal(g, w) for g, w in zip(got, alone, strict=True))


def test_a_second_derivative_after_the_statistics_changed_is_refused():
    loss, batch = ISDA(C, A), make_batch()
    leaves = [tensor.clone().requires_grad_() for tensor in batch[:3]]
    value = loss(outputs_of(*leaves), batch.targets, 0.6)
    loss(outputs_of(*batch[:3]), batch.targets, 0.6)
    with pytest.raises(RuntimeError, match=r"statistics have changed.*create_graph"):
        torch.autograd.grad(value, leaves, create_graph=True)


def test_gathered_rows_refuse_the_second_derivative_only():
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        rows = torch.randn(4, 3, requires_grad=True)
        (gathered,) = gather_rows(rows)
        value = gathered.pow(3).sum()
        (first,) = torch.autograd.grad(value, rows, retain_graph=True)
        torch.testing.assert_close(first, 3 * rows.detach().square())
        with pytest.raises(RuntimeError, match=r"several processes.*create_graph"):
            torch.autograd.grad(value, rows, create_graph=True)
    finally:
        distributed.destroy_process_group()
