"""The contract, over the whole zoo: every variant at a size that a test can train."""

import copy
import inspect

import pytest
import torch
from hydra.utils import get_class
from torch import nn
from torch.testing import assert_close

from helpers.networks import model_config
from isda_bench.losses.base import Outputs
from isda_bench.losses.isda import ISDA
from isda_bench.models.base import Classifier
from isda_bench.reporting.model_table import names

SMALL = {
    "resnet8": {},
    "resnet20": {"depth": 14},
    "resnet32": {"depth": 14},
    "resnet44": {"depth": 14},
    "resnet56": {"depth": 14},
    "resnet110": {"depth": 20},
    "se_resnet110": {"depth": 14},
    "wrn16_8": {"width": 1},
    "wrn28_10": {"depth": 10, "width": 2},
    "resnext29_8x64d": {"depth": 11, "width": 4},
    "resnext29_16x64d": {"depth": 11, "width": 2},
    "densenet_bc_100_12": {"depth": 22},
    "densenet_bc_190_40": {"depth": 16, "growth_rate": 8},
    "shake_shake_26_2x32d": {"depth": 14, "width": 8},
    "shake_shake_26_2x96d": {"depth": 14, "width": 6},
    "shake_shake_26_2x112d": {"depth": 14, "width": 7},
    "pyramidnet110_a48": {"depth": 14, "alpha": 9},
    "pyramidnet272_a200": {"depth": 20, "alpha": 9},
    "resnet50": {"width_per_group": 8},
    "resnet101": {"depth": 50, "width_per_group": 8},
    "resnet152": {"depth": 50, "width_per_group": 8},
    "resnext50_32x4d": {"groups": 4},
    "resnext101_32x8d": {"depth": 50, "groups": 2},
    "densenet121": {"growth_rate": 8},
    "densenet265": {"depth": 121, "growth_rate": 4},
}
IMAGENET = (
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "densenet121",
    "densenet265",
)
whole_zoo = pytest.mark.parametrize("name", SMALL)
N, C = 4, 10


@pytest.fixture
def small(build):
    def make(name, **changes):
        torch.manual_seed(0)
        return build(name, C, **(SMALL[name] | changes))

    return make


@pytest.fixture
def images():
    return torch.randn(N, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_zoo_is_whole():
    assert sorted(SMALL) == names()


@whole_zoo
def test_configuration_lists_every_tunable_argument(name):
    config = model_config(name)
    arguments = set(inspect.signature(get_class(config._target_)).parameters) - {"num_classes", "in_channels"}
    assert set(config) - {"_target_"} == arguments


@whole_zoo
def test_contract(small, images, name):
    model = small(name).eval()
    assert isinstance(model, Classifier) and isinstance(model.head, nn.Linear)
    with torch.no_grad():
        features, logits = model.features(images), model(images)
        assert features.shape == (N, model.feature_dim) and logits.shape == (N, C)
        assert features.isfinite().all() and logits.isfinite().all()
        assert torch.equal(model.head(features), logits)
        assert torch.equal(model(images), logits)  # evaluation is deterministic


@whole_zoo
def test_every_parameter_gets_a_gradient(small, images, name):
    model = small(name).train()
    nn.functional.cross_entropy(model(images), torch.arange(N)).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key
    assert model.head.weight.grad.any()


@whole_zoo
def test_state_dict_round_trip(small, images, name):
    model = small(name)
    with torch.no_grad():
        model.train()(images)  # moves the running statistics
        torch.manual_seed(9)
        other = small(name)
        nn.init.zeros_(other.head.weight)
        other.load_state_dict(model.state_dict())
        assert torch.equal(other.eval()(images), model.eval()(images))


@whole_zoo
def test_bf16_autocast(small, images, name):
    model = small(name)
    with torch.no_grad():
        model.train()(images)
        exact = model.eval()(images)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model.eval()(images)
        model.train()(images).sum().backward()
        assert model.eval().features(images).dtype == torch.bfloat16
    assert logits.dtype == torch.float32, "the head's own precision"
    assert_close(logits, exact, rtol=0.1, atol=0.1 * exact.abs().max().item())
    assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in model.parameters())


@whole_zoo
def test_channels_last_gives_the_same_result(small, images, name):
    model = small(name).double().eval()
    images = images.double()
    with torch.no_grad():
        expected = model(images)
        model.to(memory_format=torch.channels_last)
        assert_close(model(images.contiguous(memory_format=torch.channels_last)), expected)


@whole_zoo
def test_two_steps_with_isda(small, images, name):
    model = small(name).train()
    loss = ISDA(num_classes=C, feature_dim=model.feature_dim)
    before = copy.deepcopy(model.head.weight)
    losses = _train(model, loss, images, steps=2)
    assert torch.tensor(losses).isfinite().all() and not torch.equal(model.head.weight, before)
    assert loss.statistics.count.sum() == 2 * N


@pytest.mark.parametrize("name", ["shake_shake_26_2x32d", "pyramidnet272_a200", "wrn28_10"])
def test_random_branches_resume_from_torchs_default_generator(small, images, name):
    model = small(name).train()
    loss = ISDA(num_classes=C, feature_dim=model.feature_dim)
    _train(model, loss, images, steps=1)
    state = copy.deepcopy((model.state_dict(), loss.state_dict())), torch.get_rng_state()
    uninterrupted = _train(model, loss, images, steps=2)
    other, other_loss = small(name).train(), ISDA(num_classes=C, feature_dim=model.feature_dim)
    for module, saved in zip((other, other_loss), state[0], strict=True):
        module.load_state_dict(saved)
    torch.set_rng_state(state[1])
    assert _train(other, other_loss, images, steps=2) == uninterrupted
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


@whole_zoo
def test_dropout_and_channels_of_the_images_are_arguments(small, name):
    model = small(name, dropout=0.3, in_channels=1).train()
    images = torch.randn(N, 1, 32, 32)
    first, second = (_seeded(model, images, seed) for seed in (0, 1))
    assert not torch.equal(first, second)
    assert torch.equal(_seeded(model, images, 0), first)


@pytest.mark.parametrize("side", [8, 28])
@pytest.mark.parametrize("name", [name for name in SMALL if name not in IMAGENET])
def test_other_resolutions(small, name, side):
    with torch.no_grad():
        assert small(name).eval()(torch.randn(2, 3, side, side)).isfinite().all()


def _train(model, loss, images, steps):
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    targets = torch.arange(N) % 2
    losses = []
    for step in range(steps):
        features = model.features(images)
        value = loss(Outputs(features, model.head(features), model.head), targets, 0.5 * step)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    return losses


def _seeded(model, images, seed):
    torch.manual_seed(seed)
    with torch.no_grad():
        return model(images)
