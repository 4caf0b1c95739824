"""Fuses batch normalisations of a trained network into the convolutions before them."""

from copy import deepcopy
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from isda_bench.models.base import Classifier


def fused(classifier: Classifier, images: Tensor) -> Classifier:
    """A copy that computes the same function, up to rounding, with fewer operations.

    A normalisation right after a convolution becomes part of it, if nothing else takes the convolution's
    output. Each pair is checked by the features of `images`.

    Args:
        classifier: in evaluation mode.
        images: some that it can take, (N, C, H, W).
    """
    whole = deepcopy(classifier)
    with torch.no_grad():
        features = classifier.features(images)
        near: Any = {"rtol": 1e-3, "atol": 1e-4 * float(features.abs().max())}
        for names in _pairs(whole, images):
            parts = [cast(Any, whole.get_submodule(name)) for name in names]
            for name, part in zip(names, [fuse_conv_bn_eval(*parts), nn.Identity()], strict=True):
                whole.set_submodule(name, part)
            if not torch.allclose(whole.features(images), features, **near):
                for name, part in zip(names, parts, strict=True):
                    whole.set_submodule(name, part)
    return whole


def _pairs(network: Classifier, images: Tensor) -> list[tuple[str, str]]:
    """Names of convolutions and of the normalisations that take their output, each in one pair."""
    outputs: dict[int, tuple[str, Tensor]] = {}  # with the tensor, so that its id stays its own
    pairs: list[tuple[str, str]] = []

    def keep(name: str, output: Tensor) -> None:
        outputs[id(output)] = name, output

    def look(name: str, taken: Tensor) -> None:
        convolution, _ = outputs.get(id(taken), ("", taken))
        if convolution and not any({convolution, name} & set(pair) for pair in pairs):
            pairs.append((convolution, name))

    hooks = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(lambda _, __, out, name=name: keep(name, out)))
        elif isinstance(module, nn.BatchNorm2d):
            hooks.append(module.register_forward_pre_hook(lambda _, given, name=name: look(name, given[0])))
    with torch.no_grad():
        network.features(images)
    for hook in hooks:
        hook.remove()
    return pairs
