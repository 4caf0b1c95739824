"""Known faults of the libraries that a run computes with, and how a run avoids them.

`torchvision_import` repairs torchvision's import. `on_device` is the one place where the
framework puts a network on a device: there the faults of that device are avoided.

**torch's oneDNN, 1x1 convolutions with stride > 1, on a CPU** (`STRIDED_1X1`). The kernel of the
weight's gradient, for channels_last images of few channels, writes past its memory: the process dies or
hangs, or the gradient is silently wrong. Measured with torch 2.11.0, 2.13.0 and 2.14.1: AVX2's kernel is
wrong for 2 to 7 channels, stride (2, 2), (2, 1), (1, 2) or 3, with and without dilation, and right for
1 channel and for 8 or more. The report says that AVX-512's is wrong below 16 channels; that of an AMD EPYC
with AVX-512 was right. Right everywhere are the output and the input's gradient, convolutions with padding,
with groups, of images that are not channels_last, with kernels 1x3, 3x1, 2x2, 3x3 and 4x4, and transposed,
1-d and 3-d convolutions. The guard covers every 1x1 `nn.Conv2d` with stride > 1 and fewer than 16 channels
in a group, with padding and groups too: which kernel a version of oneDNN takes for those is not known.

A call of `torch.nn.functional.conv2d` outside an `nn.Conv2d` is not guarded: call `conv2d` of this module
there, which takes the same arguments.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

Module = TypeVar("Module", bound=nn.Module)


class LibraryFault(NamedTuple):
    """A fault of torch: its symptom, its versions, and its report."""

    what: str
    report: str
    fixed_in: str | None
    """The first version of torch without it; None: no version is known to be right."""

    @property
    def present(self) -> bool:
        """Whether this process's torch has it; an untested version counts as having it."""
        return self.fixed_in is None or torch.__version__ < self.fixed_in


STRIDED_1X1 = LibraryFault(
    what="oneDNN: weight gradient of a 1x1 convolution with stride > 1, channels_last, few input channels",
    report="https://github.com/uxlfoundation/oneDNN/issues/6035",
    fixed_in=None,
)
RIGHT_FROM = 16
"""Input channels of a group from which every kernel is right: one block of AVX-512's; 8 for AVX2's."""


def on_device(module: Module, device: torch.device) -> Module:
    """Moves `module`, itself, to `device`; on a CPU its convolutions avoid `STRIDED_1X1`, elsewhere not.

    Values, parameters and the state dict stay the same; only the class of a convolution that the fault
    concerns changes, to a subclass. Every other module stays untouched.

    Args:
        module: a network, or a network and its loss.
        device: where it will compute.
    """
    module.to(device)
    avoid = device.type == "cpu" and STRIDED_1X1.present and _onednn_is_used()
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            unguarded = vars(type(part)).get("unguarded", type(part))  # its own, not an inherited one
            group_channels = part.in_channels // part.groups
            concerned = _is_concerned(group_channels, part.kernel_size, part.stride)
            wanted = guarded(unguarded) if avoid and concerned else unguarded
            if type(part) is not wanted:
                part.__class__ = wanted
    return module


def conv2d(
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: str | int | tuple[int, ...] = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> Tensor:
    """`torch.nn.functional.conv2d` without the kernel of `STRIDED_1X1`.

    A 1x1 kernel looks at every stride-th pixel only: taking these first and convolving with stride 1 gives
    the same values, and its backward pass the same gradients.

    Args:
        images: (N, C, H, W) or (C, H, W).
        weight: (C', C / groups, h, w).
        bias: (C',).
        stride: as torch takes it, and so are `padding`, `dilation` and `groups`.
        padding: zeros on each side.
        dilation: distance of the kernel's points; a 1x1 kernel has one point.
        groups: parts of the channels with kernels of their own.

    Returns:
        (N, C', H', W') or (C', H', W').
    """
    rows, columns = _pair(stride)
    concerned = images.device.type == "cpu" and _is_concerned(weight.shape[1], weight.shape[2:], stride)
    if not concerned or padding == "same":  # which torch refuses with a stride
        return F.conv2d(images, weight, bias, stride, padding, dilation, groups)
    above, beside = (0, 0) if isinstance(padding, str) else _pair(padding)
    if above or beside:
        images = F.pad(images, (beside, beside, above, above))
    return F.conv2d(images[..., ::rows, ::columns], weight, bias, groups=groups)


@cache
def guarded(base: type[nn.Conv2d]) -> type[nn.Conv2d]:
    """The subclass of `base` whose forward pass calls this module's `conv2d` wherever `base` calls torch's.

    So a subclass with a forward pass of its own (one that standardises its weight, ...) is guarded too.
    """

    class Guarded(base):  # type: ignore[valid-type, misc]
        unguarded = base

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            with _Conv2dReplaced():
                return super().forward(*args, **kwargs)

        def __reduce_ex__(self, protocol: Any) -> Any:  # a class made here is not found by its name
            _, (_, *arguments), *state = super().__reduce_ex__(protocol)
            return _new, (base, *arguments), *state

    Guarded.__name__, Guarded.__qualname__ = base.__name__, base.__qualname__
    Guarded.__module__, Guarded.__doc__ = base.__module__, base.__doc__
    return Guarded


class _Conv2dReplaced(TorchFunctionMode):
    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function is not F.conv2d:
            return function(*args, **(kwargs or {}))
        named = dict(kwargs or {})
        if "input" in named:
            named["images"] = named.pop("input")
        return conv2d(*args, **named)


def _new(base: type[nn.Conv2d], *arguments: Any) -> nn.Conv2d:
    kind: Any = guarded(cast(Any, base))
    made: nn.Conv2d = kind.__new__(kind, *arguments)
    return made


def _is_concerned(group_channels: int, kernel: Sequence[int], stride: int | tuple[int, ...]) -> bool:
    return tuple(kernel) == (1, 1) and group_channels < RIGHT_FROM and max(_pair(stride)) > 1


def _onednn_is_used() -> bool:
    return torch.backends.mkldnn.is_available() and bool(torch.backends.mkldnn.enabled)


def _pair(size: int | tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of a size as torch takes it: 2, (2,) or (2, 1)."""
    both = (size,) if isinstance(size, int) else tuple(size)
    return both[0], both[-1]
