"""Wrong arguments are ValueErrors that name the valid ones."""

import pytest

from isda_bench.models.densenet import DenseNet
from isda_bench.models.imagenet import ImageNetDenseNet, ImageNetResNet
from isda_bench.models.pyramidnet import PyramidNet
from isda_bench.models.resnet import ResNet
from isda_bench.models.resnext import ResNeXt
from isda_bench.models.shake_shake import ShakeShake
from isda_bench.models.wide_resnet import WideResNet

RIGHT = {
    ResNet: {"depth": 8},
    WideResNet: {"depth": 10, "width": 1},
    ResNeXt: {"depth": 11, "cardinality": 2, "width": 2},
    DenseNet: {"depth": 10, "growth_rate": 2},
    ShakeShake: {"depth": 8, "width": 2},
    PyramidNet: {"depth": 8, "alpha": 3, "block": "basic"},
    ImageNetResNet: {"depth": 50},
    ImageNetDenseNet: {"depth": 121},
}
WRONG = [
    (ResNet, {"depth": 18}, "depth=18: should be 6n [+] 2: 8, 14, 20, 26, 32, ..."),
    (ResNet, {"depth": 2}, "depth=2: should be"),
    (ResNet, {"se_reduction": 3}, "se_reduction=3: should be null or divide 16: 1, 2, 4, 8, 16"),
    (ResNet, {"se_reduction": 32}, "se_reduction=32"),
    (WideResNet, {"depth": 20}, "depth=20: should be 6n [+] 4: 10, 16, 22, 28, 34"),
    (WideResNet, {"width": 0}, "width\n.*greater than 0"),
    (ResNeXt, {"depth": 28}, "depth=28: should be 9n [+] 2: 11, 20, 29"),
    (ResNeXt, {"cardinality": 0}, "cardinality\n.*greater than 0"),
    (DenseNet, {"depth": 101}, "depth=101: should be 6n [+] 4"),
    (DenseNet, {"growth_rate": 0}, "growth_rate\n.*greater than 0"),
    (DenseNet, {"compression": 1.5}, "compression\n.*less than or equal to 1"),
    (DenseNet, {"compression": 0.01}, r"compression=0.01: should lie in \[1/6, 1\]"),
    (ShakeShake, {"depth": 27}, "depth=27: should be 6n [+] 2"),
    (ShakeShake, {"skip": "three_paths"}, "skip\n.*'one_path' or 'two_paths'"),
    (ShakeShake, {"width": 0}, "width\n.*greater than 0"),
    (PyramidNet, {"depth": 270}, "depth=270: should be 6n [+] 2"),
    (PyramidNet, {"depth": 100, "block": "bottleneck"}, "depth=100: should be 9n [+] 2"),
    (PyramidNet, {"block": "wide"}, "block\n.*'basic' or 'bottleneck'"),
    (PyramidNet, {"alpha": 0}, "alpha\n.*greater than 0"),
    (PyramidNet, {"shake_drop": 1.0}, "shake_drop\n.*less than 1"),
    (ImageNetResNet, {"depth": 34}, "depth\n.*50, 101 or 152"),
    (ImageNetResNet, {"groups": 0}, "groups\n.*greater than 0"),
    (ImageNetDenseNet, {"depth": 264}, "depth\n.*121 or 265"),
]


@pytest.mark.parametrize(("network", "wrong", "message"), WRONG)
def test_wrong_argument(network, wrong, message):
    with pytest.raises(ValueError, match=message):
        network(num_classes=10, **(RIGHT[network] | wrong))


@pytest.mark.parametrize("network", RIGHT)
@pytest.mark.parametrize(
    "wrong", [{"num_classes": 0}, {"in_channels": 0}, {"dropout": 1.0}, {"dropout": -0.1}]
)
def test_wrong_argument_that_all_have(network, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        network(**({"num_classes": 10} | RIGHT[network] | wrong))
