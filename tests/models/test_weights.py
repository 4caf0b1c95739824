"""Every family computes what an independent implementation computes with the same weights, in float64.

Parameter counts cannot show a wrong function. The weights go over in the order of the modules; whether that
order is right, the outputs show.
"""

import independent
import pytest
import torch
from hydra.utils import instantiate
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from helpers.networks import model_config

C = 10
IMAGENET = (3, 4, 6, 3)
FAMILIES = {
    "resnet": ("resnet32", {"depth": 14}, lambda: independent.resnet(2)),
    "se_resnet": ("se_resnet110", {"depth": 14}, lambda: independent.se_resnet(2)),
    "wide_resnet": ("wrn28_10", {"depth": 16, "width": 2}, lambda: independent.wide_resnet(2, 2)),
    "resnext": ("resnext29_8x64d", {"depth": 20, "width": 4}, lambda: independent.resnext(2, 8, 4)),
    "densenet_bc": (
        "densenet_bc_100_12",
        {"depth": 22, "growth_rate": 10},
        lambda: independent.densenet(3, 10),
    ),
    "shake_shake": (
        "shake_shake_26_2x32d",
        {"depth": 14, "width": 12, "idle_projections": False},
        lambda: independent.shake_shake(2, 12),
    ),
    "pyramidnet_basic": (
        "pyramidnet110_a48",
        {"depth": 14, "alpha": 10},
        lambda: independent.pyramidnet(2, 10, 1),
    ),
    "pyramidnet_shake_drop": (
        "pyramidnet272_a200",
        {"depth": 20, "alpha": 10},
        lambda: independent.pyramidnet(2, 10, 4, shake_drop=0.5),
    ),
    "imagenet_resnet": (
        "resnet50",
        {"width_per_group": 8},
        lambda: independent.imagenet_resnext(IMAGENET, 1, 8),
    ),
    "imagenet_resnext": (
        "resnext50_32x4d",
        {"groups": 4},
        lambda: independent.imagenet_resnext(IMAGENET, 4, 4),
    ),
    "imagenet_densenet": (
        "densenet121",
        {"growth_rate": 4},
        lambda: independent.imagenet_densenet((6, 12, 24, 16), 4),
    ),
}
"""Family -> a network of the configuration, what narrows it, and the independent one of the same shape."""


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_and_gradients_are_those_of_an_independent_implementation(family):
    """In evaluation mode, and with the batch's statistics in BatchNorm, where what is random stays off."""
    name, changes, make = FAMILIES[family]
    torch.manual_seed(0)
    theirs = _with_random_norms(make().double().eval())
    ours = instantiate(model_config(name), num_classes=C, **changes).double().eval()
    _carry(theirs.state_dict(), ours.state_dict())
    images = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    _assert_same(_outcome(ours, images), _outcome(theirs, images))
    for norm in _norms(ours) + _norms(theirs):
        norm.train()
    _assert_same(_outcome(ours, images), _outcome(theirs, images))


@pytest.mark.parametrize("family", [family for family in FAMILIES if "imagenet" not in family])
def test_dropout_has_its_place_rate_and_kind(family):
    """The same masks from the same seed, drawn for the same tensors in the same order."""
    name, changes, make = FAMILIES[family]
    torch.manual_seed(0)
    theirs = _with_random_norms(make().double().eval())
    independent.add_dropout(theirs, 0.3)
    ours = instantiate(model_config(name), num_classes=C, **{**changes, "dropout": 0.3}).double().eval()
    _carry(theirs.state_dict(), ours.state_dict())
    for module in ours.modules():
        if isinstance(module, nn.Dropout):
            module.train()
    images, outcomes = torch.randn(4, 3, 32, 32, dtype=torch.float64), []
    for model in (ours, theirs):
        torch.manual_seed(1)
        outcomes.append(_outcome(model, images))
    _assert_same(*outcomes)


def _outcome(model, images):
    """Logits, gradients of the cross-entropy, and the buffers afterwards."""
    model.zero_grad()
    logits = model(images)
    F.cross_entropy(logits, torch.arange(len(images))).backward()
    gradients = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    return logits, gradients, [buffer.clone() for buffer in model.buffers()]


def _assert_same(ours, theirs):
    assert theirs[0].std() > 0.01 and theirs[1].abs().max() > 0.01
    assert_close(ours[0], theirs[0], rtol=1e-9, atol=1e-9)
    assert_close(ours[1], theirs[1], rtol=1e-7, atol=1e-9)
    assert_close(ours[2], theirs[2], rtol=1e-9, atol=1e-9)


def _carry(source, target):
    for (name, theirs), (key, ours) in zip(source.items(), target.items(), strict=True):
        # a linear layer may be a 1x1 convolution there
        assert theirs.squeeze().shape == ours.squeeze().shape, (name, key)
        ours.copy_(theirs.reshape(ours.shape))


def _norms(model):
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


def _with_random_norms(model):
    for module in _norms(model):
        nn.init.uniform_(module.weight, 0.5, 1.5)
        nn.init.normal_(module.bias, std=0.2)
        nn.init.normal_(module.running_mean, std=0.2)
        nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model
