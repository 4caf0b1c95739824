"""Exact sizes: the paper's networks as paper.md counts them, ImageNet's as torchvision publishes them."""

import pytest
import torch

from isda_bench.reporting.model_table import PUBLISHED

CIFAR = {
    "resnet32": (466_906, 64),
    "resnet110": (1_730_714, 64),
    "se_resnet110": (1_742_810, 64),
    "wrn16_8": (10_961_370, 512),
    "wrn28_10": (36_479_194, 640),
    "resnext29_8x64d": (34_426_698, 1024),
    "densenet_bc_100_12": (769_162, 342),
    "densenet_bc_190_40": (25_624_430, 2190),
    "shake_shake_26_2x32d": (2_989_034, 128),
    "shake_shake_26_2x96d": (26_777_578, 384),
    "shake_shake_26_2x112d": (36_435_434, 448),
    "pyramidnet110_a48": (1_772_706, 64),
    "pyramidnet272_a200": (26_210_842, 864),
}
IMAGENET = {
    "resnet50": (25_557_032, 2048),
    "resnet101": (44_549_160, 2048),
    "resnet152": (60_192_808, 2048),
    "resnext50_32x4d": (25_028_904, 2048),
    "resnext101_32x8d": (88_791_336, 2048),
    "densenet121": (7_978_856, 1024),
    "densenet265": (33_337_704, 2688),
}


def _sizes(build, name, num_classes):
    with torch.device("meta"):
        model = build(name, num_classes)
    return sum(p.numel() for p in model.parameters()), model.feature_dim


@pytest.mark.parametrize("name", CIFAR)
def test_sizes_on_cifar(build, name):
    sizes = _sizes(build, name, 10)
    assert sizes == CIFAR[name]
    if name in PUBLISHED:
        assert round(sizes[0] / 1e6, 1) == PUBLISHED[name]


@pytest.mark.parametrize("name", IMAGENET)
def test_sizes_on_imagenet(build, name):
    assert _sizes(build, name, 1000) == IMAGENET[name]
