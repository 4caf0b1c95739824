import pytest
import torch
from torch.testing import assert_close

from isda_bench.models.shake_shake import ShakeShake, TwoPaths, shake

N = 4000


@pytest.fixture
def branches():
    torch.manual_seed(0)
    return torch.ones(N, 2, 2, 2, requires_grad=True), torch.zeros(N, 2, 2, 2, requires_grad=True)


def _one_number_an_image(values):
    numbers = values[:, 0, 0, 0]
    assert torch.equal(values, numbers[:, None, None, None].expand_as(values))
    return numbers.detach()


def _is_uniform(numbers):
    """Uniform in [0, 1]: range, mean and variance."""
    assert numbers.min() >= 0 and numbers.max() <= 1
    assert abs(numbers.mean() - 1 / 2) < 0.02 and abs(numbers.var() - 1 / 12) < 0.005


def test_alpha_and_beta_are_uniform_an_image_and_drawn_apart(branches):
    x1, x2 = branches
    mixed = shake(x1, x2, training=True)
    mixed.sum().backward()
    alpha, beta = _one_number_an_image(mixed), _one_number_an_image(x1.grad)
    _is_uniform(alpha)
    _is_uniform(beta)
    assert abs(torch.corrcoef(torch.stack((alpha, beta)))[0, 1]) < 0.05
    assert_close(x2.grad, 1 - x1.grad)


def test_both_branches_share_alpha():
    torch.manual_seed(0)
    x1, x2 = torch.randn(2, 8, 3, 4, 4)
    torch.manual_seed(1)
    mixed = shake(x1, x2, training=True)
    torch.manual_seed(1)
    alpha = shake(torch.ones_like(x1), torch.zeros_like(x2), training=True)
    assert_close(mixed, alpha * x1 + (1 - alpha) * x2)


def test_evaluation_is_the_expectation(branches):
    x1, x2 = branches
    mixed = shake(x1, x2, training=False)
    mixed.sum().backward()
    for values in (mixed, x1.grad, x2.grad):
        assert_close(values, torch.full_like(values, 0.5))


def test_skip_that_halves_the_resolution_reads_two_shifted_grids():
    skip = TwoPaths(1, 4).eval()
    image = torch.randn(1, 1, 8, 8, requires_grad=True)
    out = skip(image)
    assert out.shape == (1, 4, 4, 4)
    for channels, offset in ((slice(0, 2), 0), (slice(2, 4), 1)):
        (grad,) = torch.autograd.grad(out[:, channels].square().sum(), image, retain_graph=True)
        seen = torch.zeros(8, 8, dtype=torch.bool)
        seen[offset::2, offset::2] = True
        assert torch.equal(grad[0, 0] != 0, seen)


def test_idle_projections_count_and_do_nothing():
    images = torch.randn(2, 3, 16, 16)
    with_idle, without = (_seeded_network(idle) for idle in (True, False))
    assert without.idle is None
    assert_close(with_idle.eval()(images), without.eval()(images))
    with_idle(images).sum().backward()
    assert not with_idle.idle.grad.any()
    assert not _seeded_network(True, depth=8).idle  # one block a stage: none keeps its shape


@pytest.mark.slow
def test_compiles_whole():
    torch.manual_seed(0)
    model = ShakeShake(num_classes=3, depth=8, width=4)
    torch.compile(model, backend="aot_eager", fullgraph=True)(torch.randn(4, 3, 8, 8)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def _seeded_network(idle_projections, depth=14):
    torch.manual_seed(0)
    return ShakeShake(num_classes=3, depth=depth, width=4, idle_projections=idle_projections)
