import pytest
import torch
from torch import nn
from torch.testing import assert_close

from isda_bench.models.pyramidnet import PyramidNet, ShakeDrop

N = 200


def _draw(shake_drop):
    """Factors of the forward and of the backward pass, one an image."""
    x = torch.ones(N, 2, 2, 2, requires_grad=True)
    out = shake_drop(x)
    out.sum().backward()
    for values in (out, x.grad):
        assert torch.equal(values, values[:, :1, :1, :1].expand_as(values))
    return out[:, 0, 0, 0].detach(), x.grad[:, 0, 0, 0]


def test_shake_drop_has_one_gate_a_batch_and_factors_an_image():
    torch.manual_seed(0)
    shake_drop = ShakeDrop(0.3)
    draws = [_draw(shake_drop) for _ in range(400)]
    passed = torch.tensor([bool((forward == 1).all()) for forward, _ in draws])
    assert abs(passed.float().mean() - 0.7) < 0.07
    assert all(
        torch.equal(grad, torch.ones(N)) for (_, grad), gate in zip(draws, passed, strict=True) if gate
    )
    shaken = [draw for draw, gate in zip(draws, passed, strict=True) if not gate]
    alpha, beta = (torch.cat(factors) for factors in zip(*shaken, strict=True))
    assert (
        alpha.min() >= -1
        and alpha.max() <= 1
        and abs(alpha.mean()) < 0.02
        and abs(alpha.var() - 1 / 3) < 0.01
    )
    assert (
        beta.min() >= 0
        and beta.max() <= 1
        and abs(beta.mean() - 0.5) < 0.01
        and abs(beta.var() - 1 / 12) < 0.01
    )
    assert abs(torch.corrcoef(torch.stack((alpha, beta)))[0, 1]) < 0.02


def test_shake_drop_in_evaluation_is_the_expectation():
    torch.manual_seed(0)
    shake_drop = ShakeDrop(0.4)
    mean = torch.stack([_draw(shake_drop)[0] for _ in range(2000)]).mean()
    forward, backward = _draw(shake_drop.eval())
    assert abs(mean - 0.6) < 0.04
    assert_close(forward, torch.full((N,), 0.6))
    assert_close(backward, torch.full((N,), 0.6))


def test_shake_drop_grows_linearly(build):
    with torch.device("meta"):
        model = build("pyramidnet272_a200")
    drops = torch.tensor([block.shake_drop.drop for block in model.blocks])
    assert_close(drops, 0.5 * torch.arange(1, 91) / 90)


def test_widths_grow_additively(build):
    with torch.device("meta"):
        model = build("pyramidnet110_a48")
    widths = [block.branch[-1].num_features for block in model.blocks]
    assert widths == [round(16 + 48 * k / 54) for k in range(1, 55)] and widths[-1] == 64
    assert [k for k, block in enumerate(model.blocks) if block.stride == 2] == [18, 36]


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_shortcuts_are_zero_padded_and_have_no_parameters(block):
    model = PyramidNet(num_classes=3, depth=20, alpha=12, block=block)
    x = torch.randn(2, 16, 8, 8)
    for residual in model.blocks:
        nn.init.zeros_(residual.branch[-1].weight)  # leaves the shortcut alone
        y = residual(x)
        kept = x if residual.stride == 1 else nn.functional.avg_pool2d(x, 2)
        assert_close(y[:, : x.shape[1]], kept)
        assert not y[:, x.shape[1] :].any()
        assert all(key.startswith("branch") for key, _ in residual.named_parameters())
        x = y


@pytest.mark.slow
def test_compiles_whole():
    torch.manual_seed(0)
    model = PyramidNet(num_classes=3, depth=11, alpha=6, block="bottleneck", shake_drop=0.5)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    compiled(torch.randn(4, 3, 8, 8)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["shake_shake_26_2x32d", "pyramidnet272_a200"])
def test_cuda_graph_captures_a_step_and_draws_anew(build, name):
    model = build(name, **({"width": 8} if "shake" in name else {"depth": 20, "alpha": 9})).cuda()
    images = torch.randn(8, 3, 32, 32, device="cuda")
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            model(images).sum().backward()
    torch.cuda.current_stream().wait_stream(stream)
    model.zero_grad()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        logits = model(images)
        logits.sum().backward()
    outputs = []
    for _ in range(2):
        graph.replay()
        outputs.append(logits.clone())
    assert not torch.equal(*outputs)
