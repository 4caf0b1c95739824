"""Convolutions start with the standard deviation of the initialisation that the networks' docstrings name."""

import math

import pytest
import torch
from torch import nn

SMALL = {
    "resnet32": {"depth": 8},
    "se_resnet110": {"depth": 8},
    "wrn16_8": {"depth": 10, "width": 2},
    "resnext29_8x64d": {"depth": 11, "width": 4},
    "densenet_bc_100_12": {"depth": 10, "growth_rate": 40},
    "shake_shake_26_2x32d": {"depth": 8},
    "pyramidnet110_a48": {"depth": 8},
    "resnet50": {},
    "densenet121": {"initialisation": "fan_out"},
}


@pytest.mark.parametrize("name", SMALL)
def test_by_fan_out(build, name):
    _check(build(name, **SMALL[name]), lambda conv: conv.out_channels)


def test_imagenets_densenet_by_fan_in(build):
    _check(build("densenet121"), lambda conv: conv.in_channels)


def test_shake_shakes_stem_starts_without_bias(build):
    assert not build("shake_shake_26_2x32d", depth=8).stem.bias.any()


def _check(model, channels):
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.weight.numel() > 4000]
    assert any(m.in_channels != m.out_channels for m in convolutions)
    for conv in convolutions:
        expected = math.sqrt(2 / (math.prod(conv.kernel_size) * channels(conv)))
        # the deviation of a sample's standard deviation is 1 / sqrt(2 n) of it
        assert abs(conv.weight.std() / expected - 1) < 5 / math.sqrt(2 * conv.weight.numel())
        assert abs(conv.weight.mean()) < 5 * expected / math.sqrt(conv.weight.numel())
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            assert torch.equal(norm.weight, torch.ones_like(norm.weight)) and not norm.bias.any()


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)
