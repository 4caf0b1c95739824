"""pytorchcv's networks with the shapes of ours: the same functions, written by other people.

Where pytorchcv's function differs from the paper's and the reference code's, the functions below adapt it;
the docstring of each names the adaptation.
"""

import isda_bench.runtime.torchvision_import  # noqa: F401  # isort: skip  # pytorchcv imports torchvision

import pytest
from torch import Tensor, cat, nn, zeros
from torch.nn import functional as F

pytest.importorskip("pytorchcv", reason="pytorchcv is not installed: pip install -r requirements-test.txt")

from pytorchcv.models.densenet import DenseNet, DenseUnit
from pytorchcv.models.densenet_cifar import CIFARDenseNet
from pytorchcv.models.pyramidnet import PyrUnit
from pytorchcv.models.pyramidnet_cifar import CIFARPyramidNet
from pytorchcv.models.resnet_cifar import CIFARResNet
from pytorchcv.models.resnext import ResNeXt
from pytorchcv.models.resnext_cifar import CIFARResNeXt
from pytorchcv.models.seresnet_cifar import CIFARSEResNet
from pytorchcv.models.shakeshakeresnet_cifar import (
    CIFARShakeShakeResNet,
    ShakeShakeResUnit,
    ShakeShakeShortcut,
)
from pytorchcv.models.wrn_cifar import CIFARWRN


def resnet(blocks: int) -> nn.Module:
    return CIFARResNet(_stages(blocks, 16, 32, 64), 16, bottleneck=False)


def se_resnet(blocks: int) -> nn.Module:
    """Without biases in squeeze-and-excitation, as the reference code and the paper's parameter count."""
    net = CIFARSEResNet(_stages(blocks, 16, 32, 64), 16, bottleneck=False)
    for unit in _units(net):
        unit.se.conv1.bias = unit.se.conv2.bias = None
    return net


def wide_resnet(blocks: int, width: int) -> nn.Module:
    return CIFARWRN(_stages(blocks, 16 * width, 32 * width, 64 * width), 16)


def resnext(blocks: int, cardinality: int, width: int) -> nn.Module:
    return CIFARResNeXt(_stages(blocks, 256, 512, 1024), 64, cardinality, width)


def densenet(layers: int, growth_rate: int) -> nn.Module:
    stages = _dense_stages((layers, layers, layers), 2 * growth_rate, growth_rate)
    return CIFARDenseNet(stages, 2 * growth_rate, bottleneck=True)


def pyramidnet(blocks: int, alpha: int, expansion: int, shake_drop: float = 0.0) -> nn.Module:
    """With ShakeDrop's expectation in evaluation, which pytorchcv's PyramidNet lacks."""
    count = 3 * blocks
    widths = [expansion * round(16 + alpha * k / count) for k in range(1, count + 1)]
    stages = [widths[i : i + blocks] for i in range(0, count, blocks)]
    net = CIFARPyramidNet(stages, 16, bottleneck=expansion == 4)
    for k, unit in enumerate(_units(net), 1):
        assert isinstance(unit, PyrUnit)
        kept = 1 - shake_drop * k / count
        unit.bn.register_forward_hook(lambda module, inputs, branch, kept=kept: kept * branch)
    return net


class _Shortcut(ShakeShakeShortcut):
    """With the shift of ISDA's reference code, up and left; pytorchcv's is Gastaldi's, down and right."""

    def forward(self, x: Tensor) -> Tensor:
        shifted = F.pad(x[:, :, 1:, 1:], (0, 1, 0, 1))
        return self.bn(cat((self.conv1(self.pool(x)), self.conv2(self.pool(shifted))), 1))


class _PreactivationUnit(ShakeShakeResUnit):
    """With ReLU before the branches, as in Gastaldi's and ISDA's code.

    pytorchcv applies ReLU behind the sum, so that its identity skip lacks the negative part.
    """

    def forward(self, x: Tensor) -> Tensor:
        activated = x.relu()
        skipped = self.identity_branch(activated) if self.resize_identity else x
        return (self.branch1(activated) + self.branch2(activated)) / 2 + skipped


def shake_shake(blocks: int, width: int) -> nn.Module:
    """In evaluation; the first convolution has a bias and no ReLU, as in the reference code."""
    net = CIFARShakeShakeResNet(_stages(blocks, width, 2 * width, 4 * width), 16, bottleneck=False)
    stem = net.features.init_block
    stem.conv.bias = nn.Parameter(zeros(16))
    stem.activ = nn.Identity()
    for unit in _units(net):
        unit.__class__ = _PreactivationUnit
        if unit.resize_identity:
            unit.identity_branch.__class__ = _Shortcut
    net.features.final_pool = nn.Sequential(nn.ReLU(), net.features.final_pool)
    return net


def imagenet_resnext(layers: tuple[int, ...], groups: int, width: int) -> nn.Module:
    """ResNeXt, or with one group ResNet; pools over any resolution."""
    channels = [[256 * 2**i] * count for i, count in enumerate(layers)]
    net = ResNeXt(channels, 64, groups, width, num_classes=10)
    net.features.final_pool = nn.AdaptiveAvgPool2d(1)
    return net


def imagenet_densenet(layers: tuple[int, ...], growth_rate: int) -> nn.Module:
    """Pools over any resolution."""
    stages = _dense_stages(layers, 2 * growth_rate, growth_rate)
    net = DenseNet(stages, 2 * growth_rate, num_classes=10)
    net.features.final_pool = nn.AdaptiveAvgPool2d(1)
    return net


def add_dropout(net: nn.Module, rate: float) -> None:
    """Before the last convolution of each branch of a block; in DenseNet behind it. It is never off."""
    for unit in _units(net):
        for name, branch in unit.named_children():
            if name in ("body", "branch1", "branch2"):
                _convolutions(branch)[-1].register_forward_pre_hook(
                    lambda convolution, inputs: F.dropout(inputs[0], rate)
                )
        if isinstance(unit, DenseUnit):
            _convolutions(unit)[-1].register_forward_hook(
                lambda convolution, inputs, output: F.dropout(output, rate)
            )


def _convolutions(module: nn.Module) -> list[nn.Module]:
    return [part for part in module.modules() if isinstance(part, nn.Conv2d)]


def _stages(blocks: int, *widths: int) -> list[list[int]]:
    return [[width] * blocks for width in widths]


def _dense_stages(layers: tuple[int, ...], channels: int, growth_rate: int) -> list[list[int]]:
    """Channels behind each layer; a transition halves them."""
    stages = []
    for count in layers:
        stages.append([channels + growth_rate * (i + 1) for i in range(count)])
        channels = stages[-1][-1] // 2
    return stages


def _units(net: nn.Module) -> list[nn.Module]:
    return [
        unit for name, stage in net.features.named_children() if name.startswith("stage") for unit in stage
    ]
