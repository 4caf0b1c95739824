"""Compares gradients with oneDNN to those of torch's own kernels, in a process that may die or hang.

    python tests/helpers/onednn_gradients.py convolutions|families guarded|unguarded [names of families]

Prints a line a case: threads, name, and the largest error of any gradient, as a part of its tensor's largest.
"""

import copy
import sys

import torch
from hydra.utils import instantiate
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from isda_bench.config.compose import compose_run
from isda_bench.models import imagenet
from isda_bench.runtime.library_faults import on_device

CPU = torch.device("cpu")
BATCH = 32
FAMILIES = {  # model, changes, side of the images; narrow: few channels before a strided 1x1 convolution
    "resnet": ("resnet8", {}, 16),
    "se_resnet": ("se_resnet110", {"depth": 8}, 16),
    "wide_resnet narrow": ("wrn16_8", {"depth": 10, "width": 1}, 16),
    "wide_resnet wide": ("wrn16_8", {"depth": 10, "width": 4}, 16),
    "densenet narrow": ("densenet_bc_100_12", {"depth": 16, "growth_rate": 4}, 16),
    "densenet wide": ("densenet_bc_100_12", {"depth": 22, "growth_rate": 12}, 16),
    "resnext narrow": ("resnext29_8x64d", {"depth": 11, "cardinality": 2, "width": 2}, 16),
    "resnext wide": ("resnext29_8x64d", {"depth": 11, "cardinality": 4, "width": 16}, 16),
    "shake_shake narrow": ("shake_shake_26_2x32d", {"depth": 8, "width": 4}, 16),
    "shake_shake wide": ("shake_shake_26_2x32d", {"depth": 8, "width": 32}, 16),
    "pyramidnet narrow": ("pyramidnet110_a48", {"depth": 14, "alpha": 9, "shake_drop": 0.5}, 16),
    "pyramidnet wide": ("pyramidnet110_a48", {"depth": 14, "alpha": 48, "shake_drop": 0.5}, 16),
    "imagenet resnet narrow": ("resnet50", {"width_per_group": 2}, 32),
    "imagenet resnext narrow": ("resnext50_32x4d", {"groups": 2, "width_per_group": 2}, 32),
    "imagenet densenet narrow": ("densenet121", {"growth_rate": 8}, 32),
    "imagenet resnet wide": ("resnet50", {}, 32),
    "imagenet resnext wide": ("resnext50_32x4d", {}, 32),
    "imagenet densenet wide": ("densenet121", {}, 32),
}


class Smooth(TorchFunctionMode):
    """ReLU and maximum become smooth: at their kinks rounding would decide, with right kernels too."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", "")
        if name in ("relu", "relu_"):
            return F.silu(args[0])
        if "max_pool2d" in name:
            return F.avg_pool2d(args[0], 3, 2, 1)
        return function(*args, **(kwargs or {}))


class Standardised(nn.Conv2d):
    """Calls torch's function itself."""

    def forward(self, input):
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(input, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


def network(channels):
    """Strided 1x1 convolutions one after another, with what a user may give them."""
    return nn.Sequential(
        nn.Conv2d(channels, 6, 1, stride=(2, 1)),
        nn.ReLU(),
        nn.Conv2d(6, 12, 1, stride=2, groups=2, bias=False),
        nn.BatchNorm2d(12),
        Standardised(12, 5, 1, stride=(1, 2), padding=1),
        nn.Conv2d(5, 4, 1, stride=2, padding=(1, 0), padding_mode="circular", dilation=2),
    )


def gradients(module, images, onednn):
    """Those of the parameters and of the images, by name, for one loss and one state of the generators."""
    images = images.clone().requires_grad_()
    with torch.backends.mkldnn.flags(enabled=onednn), Smooth():
        torch.manual_seed(1)  # random branches
        output = module(images)
        (output * torch.randn(output.shape)).sum().backward()
    return {"images": images.grad} | {name: p.grad for name, p in module.named_parameters()}


def error(module, images, guarded):
    """The largest of any gradient, as a part of its tensor's largest.

    A tensor whose gradient is zero but for rounding (a bias before BatchNorm) has none to compare.
    """
    module.to(memory_format=torch.channels_last)
    images = images.contiguous(memory_format=torch.channels_last)
    reference = gradients(copy.deepcopy(module), images, onednn=False)
    if guarded:
        on_device(module, CPU)
    ours = gradients(module, images, onednn=True)
    largest = max(float(gradient.abs().max()) for gradient in reference.values())
    return max(
        float((ours[name] - gradient).abs().max() / gradient.abs().max())
        for name, gradient in reference.items()
        if gradient.abs().max() > 1e-6 * largest
    )


def cases(what, names):
    """Name, maker of a module, and the shape of its images."""
    for channels in range(1, 17) if what == "convolutions" else ():
        for side in (8, 16):
            shape = (BATCH, channels, side, side)
            yield f"{shape}, one", lambda c=channels: nn.Conv2d(c, 8, 1, stride=2), shape
        yield f"{shape}, network", lambda c=channels: network(c), shape
    for name in names:
        model, changes, side = FAMILIES[name]
        changes = {"dropout": 0.0} | changes  # its masks follow the layout of the memory
        settings = compose_run([f"model={model}", *(f"model.{k}={v}" for k, v in changes.items())]).settings
        yield name, lambda s=settings: instantiate(s.model, num_classes=10), (BATCH, 3, side, side)


def main(what, guard, *names):
    imagenet.RESNET_LAYERS[50] = (1, 1, 1, 1)  # of each kind of block one: fifty layers amplify rounding
    imagenet.DENSENET_LAYERS[121] = (2, 2, 2, 2)
    for threads in (1, 2) if what == "convolutions" else (1,):
        torch.set_num_threads(threads)
        for name, make, shape in cases(what, names):
            torch.manual_seed(0)
            found = error(make(), torch.randn(shape), guard == "guarded")
            print(f"{threads} threads, {name}: {found:.1e}", flush=True)
    print("finished")


if __name__ == "__main__":
    main(*sys.argv[1:])
