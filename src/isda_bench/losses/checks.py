"""The check of a loss's arguments: one sentence states the fault and the expectation.

Shapes and dtypes are always checked. Values are read only where that needs no synchronisation: from Python
numbers and from tensors on the CPU, outside compiled code.
"""

from numbers import Real

import torch
from torch import Tensor

Number = float | Tensor
HALF = (torch.float16, torch.bfloat16)


def check_parts(outputs: object) -> None:
    """Three parts: features, logits and head.

    Raises:
        ValueError: something else.
    """
    if not isinstance(outputs, (tuple, list)) or len(outputs) != 3:
        raise ValueError(
            f"outputs: {type(outputs).__name__}, should be Outputs(features, logits, head), "
            "or the features alone, a tensor"
        )


def check_features(features: Tensor, feature_dim: int) -> None:
    """Features (N, A) of the loss's A.

    Raises:
        ValueError: another shape, or no floating point numbers.
    """
    _check_matrix("features", features, feature_dim, "feature_dim")


def check_logits(logits: Tensor, rows: int, num_classes: int) -> None:
    """Logits (N, C) of the features' N and the loss's C.

    Raises:
        ValueError: another shape, or no floating point numbers.
    """
    _check_matrix("logits", logits, num_classes, "num_classes")
    if len(logits) != rows:
        raise ValueError(f"logits: of {len(logits)} samples, should be of {rows}, as the features")


def _check_matrix(name: str, values: Tensor, width: int, setting: str) -> None:
    _check_tensor(name, values)
    if not values.is_floating_point():
        raise ValueError(f"{name}: {values.dtype}, should be floating point numbers")
    if values.ndim != 2 or values.shape[1] != width:
        raise ValueError(
            f"{name}: shape {tuple(values.shape)}, should be (N, {width}) for a loss with {setting}={width}"
        )


def _check_tensor(name: str, values: object) -> None:
    if not isinstance(values, Tensor):
        raise ValueError(f"{name}: {type(values).__name__}, should be a tensor")


def check_head(head: object, num_classes: int, feature_dim: int) -> None:
    """A linear layer whose weight (C, A) has the loss's C and A.

    Raises:
        ValueError: no layer with a weight, or another shape.
    """
    weight = getattr(head, "weight", None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"head: {type(head).__name__}, should be the last linear layer, which has a weight")
    if weight.shape != (num_classes, feature_dim):
        raise ValueError(
            f"head: weight of shape {tuple(weight.shape)}, should be ({num_classes}, {feature_dim}) "
            f"for a loss with num_classes={num_classes}, feature_dim={feature_dim}"
        )


def check_labels(name: str, labels: Tensor, rows: int, num_classes: int) -> None:
    """Class indices (N,), int64; in 0..C-1 where they are readable.

    Raises:
        ValueError: other labels than these.
    """
    _check_tensor(name, labels)
    if labels.is_floating_point():
        raise ValueError(
            f"{name}: soft labels ({labels.dtype}, shape {tuple(labels.shape)}), should be class indices "
            f"({rows},) of int64; mixed samples have two of them (second=...) and a weight (weight=...)"
        )
    if labels.dtype != torch.int64:
        raise ValueError(f"{name}: {labels.dtype}, should be class indices of int64")
    if labels.shape != (rows,):
        raise ValueError(
            f"{name}: shape {tuple(labels.shape)}, should be ({rows},): one class index a sample"
        )
    if rows and is_readable(labels):
        lowest, highest = (int(label) for label in labels.aminmax())
        if lowest < 0 or highest >= num_classes:
            raise ValueError(f"{name}: labels from {lowest} to {highest}, should lie in 0..{num_classes - 1}")


def check_mixing(loss: str, mixable: bool, second: Tensor | None, weight: Number | None) -> None:
    """Both of `second` and `weight`, or neither; only for a loss that can be mixed.

    Raises:
        ValueError: one without the other, or a loss that cannot be mixed.
    """
    if (second is None) != (weight is None):
        raise ValueError("second, weight: a mixed batch has both, any other batch neither")
    if second is not None and not mixable:
        raise ValueError(f"second: the loss {loss} cannot be mixed (mixup, cutmix)")


def check_fraction(name: str, value: Number) -> None:
    """A number in [0, 1], also as a 0-d tensor, whose value is checked where it is readable.

    Raises:
        ValueError: another number, a tensor with dimensions, or no number.
    """
    if isinstance(value, Tensor) and value.ndim:
        raise ValueError(f"{name}: shape {tuple(value.shape)}, should be a number in [0, 1]")
    if is_readable(value) and not isinstance(value, (Real, Tensor)):
        raise ValueError(f"{name}: {value!r}, should be a number in [0, 1]")
    if is_readable(value) and not 0 <= value <= 1:
        raise ValueError(f"{name}: {float(value)}, should lie in [0, 1]")


def check_batch(features: Tensor) -> None:
    """At least one sample.

    Raises:
        ValueError: an empty batch.
    """
    if not len(features):
        raise ValueError("features: an empty batch has no mean loss, should have at least one sample")


def is_readable(value: Number) -> bool:
    """Whether the value can be read without a wait for a device, or a break in a compiled graph."""
    on_host = value.device.type == "cpu" if isinstance(value, Tensor) else True
    return on_host and not torch.compiler.is_compiling()
