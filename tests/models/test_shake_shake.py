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


@pytest.mark.parametrize("stride", [1, 2])
def test_the_skip_s_paths_read_shifted_grids(stride):
    skip = TwoPaths(1, 4, stride).eval()
    image = torch.randn(1, 1, 8, 8, requires_grad=True)
    out = skip(image)
    assert out.shape == (1, 4, 8 // stride, 8 // stride)
    for channels, offset in ((slice(0, 2), 0), (slice(2, 4), 1)):
        (grad,) = torch.autograd.grad(out[:, channels].square().sum(), image, retain_graph=True)
        seen = torch.zeros(8, 8, dtype=torch.bool)
        seen[offset::stride, offset::stride] = True
        assert torch.equal(grad[0, 0] != 0, seen)


def test_one_path_is_another_function_with_as_many_parameters():
    """With the same weights: the one 1x1 convolution of the first stage holds those of both paths."""
    torch.manual_seed(0)
    networks = [ShakeShake(num_classes=3, depth=8, width=6, skip=skip) for skip in ("two_paths", "one_path")]
    weights = networks[0].state_dict()
    first = "stages.0.0.skip."
    paths = [weights.pop(f"{first}{path}.weight") for path in ("path1", "path2")]
    weights = {key.replace(f"{first}norm.", f"{first}1."): value for key, value in weights.items()}
    networks[1].load_state_dict(weights | {f"{first}0.weight": torch.cat(paths)})
    counts = {sum(p.numel() for p in network.parameters()) for network in networks}
    images = torch.randn(4, 3, 16, 16)
    two, one = (network.eval()(images) for network in networks)
    assert len(counts) == 1 and (two - one).abs().max() > 0.01


def test_every_configuration_takes_two_paths(build):
    for width in (32, 96, 112):
        with torch.device("meta"):
            model = build(f"shake_shake_26_2x{width}d")
        assert [isinstance(stage[0].skip, TwoPaths) for stage in model.stages] == [True] * 3


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
