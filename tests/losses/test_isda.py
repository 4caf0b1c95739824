import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from helpers.batches import gradients_agree, make_batch, outputs_of, value_and_gradients
from helpers.isda_reference import closed_form, isda_gradients, isda_loss
from isda_bench.benchmarks.losses import NaiveISDA
from isda_bench.losses import ISDA, CrossEntropy, isda

C, A = 5, 7
PATHS = pytest.mark.parametrize("whole_limit", [isda.WHOLE_LIMIT, 0], ids=["whole", "class by class"])


@pytest.fixture(autouse=True)
def path(request, monkeypatch):
    if "whole_limit" in request.fixturenames:
        monkeypatch.setattr(isda, "WHOLE_LIMIT", request.getfixturevalue("whole_limit"))


def seasoned(loss, n=60, dtype=torch.float64):
    """The loss with statistics of earlier batches."""
    batch = make_batch(n, dtype=dtype, seed=9)
    loss.train()(outputs_of(*batch[:3]), batch.targets, 0.0)
    return loss


@PATHS
@pytest.mark.parametrize("progress", [0.0, 0.37, 1.0, torch.tensor(0.37, dtype=torch.float64)])
@pytest.mark.parametrize("seed", range(2))
def test_value_and_gradients_agree_with_the_plain_form(whole_limit, progress, seed):
    loss, batch = ISDA(C, A, strength=0.8), make_batch(seed=seed)
    got = value_and_gradients(loss, batch, progress)
    covariance = closed_form(batch.features, batch.targets, C)[2]  # of this batch: it is taken in first
    strength = 0.8 * float(progress)
    arguments = (*batch, covariance, strength)
    torch.testing.assert_close(got[0], isda_loss(*arguments), atol=1e-10, rtol=0)
    for gradient, wanted in zip(got[1:], isda_gradients(*arguments), strict=True):
        torch.testing.assert_close(gradient, wanted, atol=1e-10, rtol=0)


def test_the_corrected_equations_are_the_gradient():
    batch = make_batch()
    covariance = closed_form(batch.features, batch.targets, C)[2]
    leaves = [tensor.clone().requires_grad_() for tensor in batch[:3]]
    wanted = torch.autograd.grad(isda_loss(*leaves, batch.targets, covariance, 0.7), leaves)
    for gradient, autograd in zip(isda_gradients(*batch, covariance, 0.7), wanted, strict=True):
        torch.testing.assert_close(gradient, autograd, atol=1e-10, rtol=0)


@PATHS
def test_gradcheck(whole_limit):
    assert gradients_agree(seasoned(ISDA(C, A)).eval(), make_batch(4))


@PATHS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("covariance", ["full", "diagonal", "shared", "identity"])
def test_strength_zero_is_cross_entropy_to_the_bit(whole_limit, dtype, covariance):
    batch = make_batch(64, dtype=dtype)
    wanted = value_and_gradients(CrossEntropy(C, A), batch)
    for loss, progress in ((ISDA(C, A, 0.0, covariance), 0.6), (ISDA(C, A, 0.5, covariance), 0.0)):
        got = value_and_gradients(loss, batch, progress)
        assert all(torch.equal(g, w) for g, w in zip(got, wanted, strict=True))


@PATHS
@pytest.mark.parametrize("covariance", ["full", "diagonal", "shared", "identity"])
def test_the_order_of_the_batch_does_not_matter(whole_limit, covariance):
    batch, order = make_batch(), torch.randperm(23)
    shuffled = batch._replace(features=batch.features[order], targets=batch.targets[order])
    one, other = ISDA(C, A, covariance=covariance), ISDA(C, A, covariance=covariance)
    got, wanted = value_and_gradients(other, shuffled), value_and_gradients(one, batch)
    wanted[1] = wanted[1][order]
    torch.testing.assert_close(got, wanted, atol=1e-12, rtol=0)
    torch.testing.assert_close(one.state_dict(), other.state_dict(), atol=1e-12, rtol=0)


def test_all_classes_at_once_equal_one_class_at_a_time(monkeypatch):
    batch = make_batch()
    whole = value_and_gradients(ISDA(C, A, strength=0.7), batch)
    monkeypatch.setattr(isda, "WHOLE_LIMIT", 0)
    parts = value_and_gradients(ISDA(C, A, strength=0.7), batch)
    torch.testing.assert_close(whole, parts, atol=1e-12, rtol=0)


def test_lambda_grows_with_the_progress_or_not_at_all():
    batch = make_batch()
    half = value_and_gradients(ISDA(C, A, strength=0.5), batch, 0.5)
    quarter = value_and_gradients(ISDA(C, A, strength=0.25), batch, 1.0)
    torch.testing.assert_close(half, quarter, atol=1e-12, rtol=0)
    constant = ISDA(C, A, strength=0.25, ramp="constant")
    torch.testing.assert_close(value_and_gradients(constant, batch, 0.0), quarter, atol=1e-12, rtol=0)


@pytest.mark.parametrize("covariance", ["full", "diagonal", "shared"])
def test_statistics_move_only_in_training(covariance):
    loss = seasoned(ISDA(C, A, covariance=covariance)).eval()
    before = {name: value.clone() for name, value in loss.state_dict().items()}
    value_and_gradients(loss, make_batch())
    assert all(torch.equal(value, before[name]) for name, value in loss.state_dict().items())
    value_and_gradients(loss.train(), make_batch())
    assert not torch.equal(loss.state_dict()["statistics.mean"], before["statistics.mean"])


@pytest.mark.parametrize("covariance", ["full", "diagonal", "shared", "identity"])
def test_a_checkpoint_carries_the_statistics(covariance):
    loss, other = seasoned(ISDA(C, A, 0.5, covariance), dtype=torch.float32), ISDA(C, A, 0.5, covariance)
    other.load_state_dict(loss.state_dict())
    batch = make_batch(dtype=torch.float32)
    got, wanted = value_and_gradients(other, batch), value_and_gradients(loss, batch)
    assert all(torch.equal(g, w) for g, w in zip(got, wanted, strict=True))


def test_the_bound_lies_above_the_mean_of_drawn_features():
    torch.manual_seed(0)
    loss, batch = seasoned(ISDA(C, A, strength=0.5)).eval(), make_batch(4)
    bound = value_and_gradients(loss, batch, 1.0)[0]
    sigma = 0.5 * loss.statistics.covariance[batch.targets]
    noise = torch.distributions.MultivariateNormal(batch.features, sigma + 1e-9 * torch.eye(A))
    drawn = noise.sample((5000,)) @ batch.weight.T + batch.bias
    targets = batch.targets.expand(5000, -1)
    expected = torch.nn.functional.cross_entropy(drawn.flatten(0, 1), targets.flatten())
    assert expected < bound
    assert value_and_gradients(loss, batch, 0.0)[0] < bound


class Sizes(TorchDispatchMode):
    """Notes the sizes of all tensors that operations give."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for part in torch.utils._pytree.tree_leaves(result):
            if isinstance(part, torch.Tensor):
                self.seen.add(part.numel())
        return result


@pytest.mark.parametrize("covariance", ["full", "diagonal", "shared", "identity"])
def test_nothing_of_size_n_c_a_or_n_a_a_is_made(covariance):
    n, classes, dim = 61, 101, 103
    batch = make_batch(n, classes, dim, dtype=torch.float32)
    assert classes * classes * dim > isda.WHOLE_LIMIT
    loss, sizes = ISDA(classes, dim, covariance=covariance), Sizes()
    with sizes:
        value_and_gradients(loss, batch)
    state = classes * dim * dim if covariance == "full" else 0
    assert max(sizes.seen - {state}) <= max(2 * n + classes, dim) * max(classes, dim)
    assert max(sizes.seen - {state}) < min(n * classes * dim, n * dim * dim)


@pytest.mark.parametrize("covariance", ["full", "diagonal", "shared", "identity"])
def test_the_benchmark_s_naive_form_computes_the_same(covariance):
    naive, loss = NaiveISDA(C, A, covariance), ISDA(C, A, covariance=covariance)
    for seed in range(2):
        batch = make_batch(dtype=torch.float32, seed=seed)
        got, wanted = value_and_gradients(naive, batch), value_and_gradients(loss, batch)
        torch.testing.assert_close(got, wanted, atol=1e-5, rtol=0)
    if covariance != "identity":
        torch.testing.assert_close(naive.spread, loss.statistics.covariance, atol=1e-5, rtol=0)
