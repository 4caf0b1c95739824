"""The contract that every loss keeps, and the outputs of a network that it takes."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from isda_bench.arguments import checked
from isda_bench.losses.checks import (
    HALF,
    Number,
    check_batch,
    check_features,
    check_fraction,
    check_head,
    check_labels,
    check_logits,
    check_mixing,
    check_parts,
)
from isda_bench.runtime.distributed import gather_rows


class Outputs(NamedTuple):
    """Features, logits and last layer of a network, for one batch."""

    features: Tensor
    """a, (N, A): the input of the last linear layer."""
    logits: Tensor
    """W a + b, (N, C)."""
    head: nn.Linear
    """The last linear layer: weight W (C, A), bias b (C,) or None."""


class Loss(nn.Module):
    """Called as `loss(outputs, targets, progress)`; a subclass writes `compute`.

    In one's own loop, without `Outputs`: `loss(features, targets, head=head, progress=t)`.

    A subclass that keeps statistics also writes `update_statistics`, which changes buffers in place, in
    training mode only. `compute` changes nothing: a mixed batch calls it twice. Parameters and buffers hold
    everything that a loss learns or accumulates, so that checkpoints carry it. Random numbers come from
    torch's default generator of the device: on CUDA a captured step is replayed, not called again. A loss
    never calls the model. Where several processes train together, `update_statistics` and `compute` get the
    global batch on every rank: all sums of a loss are those of one process.

    A mixed batch, l x_1 + (1 - l) x_2, has the loss l L(y_1) + (1 - l) L(y_2). It enters the statistics once,
    as samples of the dominant target: the one whose weight is max(l, 1 - l). Where features are linear in the
    image, the mean of a class is then off by at most E[min(l, 1 - l)] times the distance between its own mean
    and its partners' mean: a quarter of it for l from Beta(1, 1), half of the error that the first target
    would cause.

    Shapes, dtypes, and numbers of classes and features are always checked. Values (labels, progress, weight)
    are checked where reading them needs no synchronisation: not on CUDA, and not in compiled code.

    Args:
        num_classes: C.
        feature_dim: A.

    Attributes:
        capturable: whether one graph, of torch.compile or of CUDA, can hold a step with this loss: no shape
            depends on values, nothing waits for the device, and no Python attribute changes.
        plain_descent: whether its own parameters need plain gradient descent, which torch.optim.SGD gives
            them by the settings of their group, and other optimizers do not.
        mixable: whether a mixed batch (mixup, cutmix) has a meaning for this loss.
    """

    capturable = True
    mixable = True
    plain_descent = False

    @checked
    def __init__(self, num_classes: PositiveInt, feature_dim: PositiveInt) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.feature_dim = feature_dim

    def forward(
        self,
        outputs: Outputs | Tensor,
        targets: Tensor,
        progress: Number,
        second: Tensor | None = None,
        weight: Number | None = None,
        *,
        head: nn.Linear | None = None,
        logits: Tensor | None = None,
    ) -> Tensor:
        """The mean loss of a batch, a scalar in float32 (float64 for float64 outputs), also under autocast.

        Args:
            outputs: features (N, A), logits (N, C) and head; or the features alone, with `head`.
            targets: class indices (N,), int64.
            progress: completed part of the training, in [0, 1]; a float or a 0-d tensor.
            second: the second class indices (N,) of a mixed batch.
            weight: l, the weight of `targets` beside `second`, in [0, 1]; a float or a 0-d tensor, the same
                on all ranks.
            head: the last linear layer, beside features.
            logits: its output for these features (N, C); `head` computes them where they are missing.

        Raises:
            ValueError: an argument that is not as described here; soft labels; an empty batch; a mixed batch
                for a loss that cannot be mixed.
        """
        outputs = self._as_outputs(outputs, head, logits)
        self._check_targets(targets, len(outputs.features), progress, second, weight)
        with _without_autocast(outputs.logits):
            if self.training:
                outputs, targets, second = _gather(outputs, targets, second)
            check_batch(outputs.features)
            outputs = in_single_precision(outputs)
            if self.training:
                self.update_statistics(outputs.features, dominant(targets, second, weight))
            loss = self.compute(outputs, targets, progress)
            if second is None or weight is None:
                return loss
            other = self.compute(outputs, second, progress)
            return torch.lerp(other, loss, weight.to(loss) if isinstance(weight, Tensor) else weight)

    def update_statistics(self, features: Tensor, targets: Tensor) -> None:
        """Takes one batch into the statistics, in training mode, before `compute`; nothing by default.

        Args:
            features: (N, A), float32 or float64.
            targets: (N,), the dominant ones of a mixed batch.
        """

    def compute(self, outputs: Outputs, targets: Tensor, progress: Number) -> Tensor:
        """The mean loss, with arguments as in `forward`, in float32 or float64; it changes no state."""
        raise NotImplementedError

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Optimizer groups of the loss's own parameters, with their settings; empty by default."""
        return []

    def _as_outputs(
        self, outputs: Outputs | Tensor, head: nn.Linear | None, logits: Tensor | None
    ) -> Outputs:
        """The checked outputs of the arguments of `forward`."""
        if not isinstance(outputs, Tensor):
            if head is not None or logits is not None:
                raise ValueError("head, logits: only beside features; Outputs have their own")
            check_parts(outputs)
            outputs = Outputs(*outputs)
        else:
            check_features(outputs, self.feature_dim)
            check_head(head, self.num_classes, self.feature_dim)
            assert head is not None
            outputs = Outputs(outputs, head(outputs) if logits is None else logits, head)
        check_features(outputs.features, self.feature_dim)
        check_head(outputs.head, self.num_classes, self.feature_dim)
        check_logits(outputs.logits, len(outputs.features), self.num_classes)
        return outputs

    def _check_targets(
        self, targets: Tensor, rows: int, progress: Number, second: Tensor | None, weight: Number | None
    ) -> None:
        """Targets and numbers that accompany the outputs."""
        check_mixing(type(self).__name__, self.mixable, second, weight)
        check_labels("targets", targets, rows, self.num_classes)
        check_fraction("progress", progress)
        if second is not None and weight is not None:
            check_labels("second", second, rows, self.num_classes)
            check_fraction("weight", weight)


def _without_autocast(values: Tensor) -> AbstractContextManager[Any]:
    """Keeps the precision of what is computed from `values`; the meta device knows no autocast."""
    return nullcontext() if values.is_meta else torch.autocast(values.device.type, enabled=False)


def in_single_precision(outputs: Outputs) -> Outputs:
    """Features and logits in float32 where they are in half precision; float64 stays."""
    features, logits, head = outputs
    return Outputs(_upcast(features), _upcast(logits), head)


def _upcast(values: Tensor) -> Tensor:
    return values.float() if values.dtype in HALF else values


def _gather(
    outputs: Outputs, targets: Tensor, second: Tensor | None
) -> tuple[Outputs, Tensor, Tensor | None]:
    """The rows of all ranks."""
    optional = () if second is None else (second,)
    features, logits, targets, *others = gather_rows(outputs.features, outputs.logits, targets, *optional)
    return Outputs(features, logits, outputs.head), targets, others[0] if others else None


def dominant(targets: Tensor, second: Tensor | None = None, weight: Number | None = None) -> Tensor:
    """The class of each sample with the larger weight, (N,), without reading the weight from a device.

    Args:
        targets: (N,).
        second: (N,), of a mixed batch.
        weight: of `targets` beside `second`.
    """
    if second is None or weight is None:
        return targets
    if isinstance(weight, Tensor):
        return torch.where(weight >= 0.5, targets, second)
    return targets if weight >= 0.5 else second
