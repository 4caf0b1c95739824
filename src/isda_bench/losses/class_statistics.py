"""Online statistics of each class's deep features (supplement A, Eq. 1-3)."""

from abc import abstractmethod
from typing import Any

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from isda_bench.arguments import checked
from isda_bench.losses.checks import HALF

STATIC_LIMIT = 2**28
"""Elements of the largest buffer in static shapes: 1 GiB in float32. CIFAR's networks stay far below it."""


class OnlineStatistics(nn.Module):
    """Number and mean of each class's features over all batches seen; a subclass keeps their spread.

    After any sequence of batches they equal the closed form over all samples together. The state is float32,
    also in a module converted to half precision, and becomes float64 with the first float64 features. A class
    that is absent from a batch keeps its values to the bit. Rows that are not finite (see `finite_rows`) are
    left out, of the counts too: one overflow costs its own row, not the statistics.

    Args:
        num_classes: C.
        feature_dim: A.

    Attributes:
        count: n (C,), int64.
        mean: mu (C, A).
    """

    count: Tensor
    mean: Tensor

    def __init__(self, num_classes: int, feature_dim: int) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(num_classes, dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(num_classes, feature_dim))

    @torch.no_grad()
    def update(self, features: Tensor, targets: Tensor) -> None:
        """Takes in one batch.

        With n past and m new samples of a class, Eq. 2 is written as one product of rows,
        Sigma <- n / (n + m) Sigma + R^T R: a row (a_i - mu') / sqrt(n + m) for each new sample and the row
        (mu - mu') sqrt(n m) / (n + m) for the shift of the mean.

        Args:
            features: (N, A).
            targets: (N,), in 0..C-1.
        """
        self._promote(features.dtype)
        features = features.to(self.mean.dtype)
        finite = finite_rows(features)
        features = torch.where(finite[:, None], features, 0)  # before any product: 0 times infinity is NaN
        own = (torch.arange(len(self.count), device=targets.device)[:, None] == targets) & finite
        new, member = own.sum(1), own.to(features.dtype)
        total = (self.count + new).clamp(min=1).to(features.dtype)
        kept = torch.where(new == 0, 1, self.count / total)  # exactly, also where compilers divide roughly
        weight = (new / total)[:, None]
        batch_mean = (member @ features) / new.clamp(min=1)[:, None]
        difference = batch_mean - self.mean

        deviations = (features - batch_mean[targets]) / total.sqrt()[targets, None]
        deviations = torch.where(finite[:, None], deviations, 0)
        shifts = difference * (weight * kept[:, None]).sqrt()
        self._spread(kept, deviations, shifts, targets, member)
        self.mean += difference * weight
        self.count += new

    @abstractmethod
    def _spread(
        self, kept: Tensor, deviations: Tensor, shifts: Tensor, targets: Tensor, member: Tensor
    ) -> None:
        """Eq. 2.

        Args:
            kept: n / (n + m) of each class, (C,): 1 for a class that is not in the batch.
            deviations: R's rows of the samples, (N, A); 0 for an ignored sample.
            shifts: R's row of each class's shift, (C, A).
            targets: (N,).
            member: 1 where a sample counts for a class, else 0, (C, N).
        """

    @abstractmethod
    def covariance_of(self, label: int) -> Tensor:
        """Sigma of class `label` as a matrix, (A, A)."""

    def spectrum(self) -> Tensor:
        """Eigenvalues of each class's covariance, float64, the largest first, (C, A)."""
        return torch.stack([_eigenvalues(self.covariance_of(label)) for label in range(len(self.count))])

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        self._promote(state_dict.get(f"{prefix}mean", self.mean).dtype)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _promote(self, dtype: torch.dtype) -> None:
        if dtype == torch.float64 and self.mean.dtype != dtype:
            self.double()

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """Conversions of a module (`half`, `to`, ...) move the state, but leave it in float32 or float64."""
        before = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, buffer in self._buffers.items():
            if buffer is not None and buffer.dtype in HALF:
                self._buffers[name] = before[name].to(buffer.device)  # type: ignore[union-attr]
        return self


def finite_rows(rows: Tensor) -> Tensor:
    """Whether a row can enter statistics of its dtype: NaN, infinity or the row's square length forbid it.

    Args:
        rows: (N, A).

    Returns:
        (N,), bool.
    """
    return (2 * rows).square().sum(1).isfinite()  # 2: a deviation from a mean is at most twice as long


class ClassStatistics(OnlineStatistics):
    """The biased covariance of each class's features.

    Args:
        num_classes: C.
        feature_dim: A.

    Attributes:
        covariance: Sigma (C, A, A).
    """

    covariance: Tensor

    @checked
    def __init__(self, num_classes: PositiveInt, feature_dim: PositiveInt) -> None:
        super().__init__(num_classes, feature_dim)
        self.register_buffer("covariance", torch.zeros(num_classes, feature_dim, feature_dim))

    def _spread(
        self, kept: Tensor, deviations: Tensor, shifts: Tensor, targets: Tensor, member: Tensor
    ) -> None:
        if needs_static_shapes(deviations):
            _update_every_class(self.covariance, kept, deviations, shifts, member)
        else:
            _update_present_classes(self.covariance, kept, deviations, shifts, targets)

    def covariance_of(self, label: int) -> Tensor:
        """Sigma of class `label`, (A, A)."""
        return self.covariance[label]


def needs_static_shapes(values: Tensor) -> bool:
    """Whether no shape may depend on the targets.

    CUDA would wait for their values, the meta device has none, and compiled code refuses it.
    """
    return values.device.type != "cpu" or torch.compiler.is_compiling()


def _eigenvalues(covariance: Tensor) -> Tensor:
    return torch.linalg.eigvalsh(covariance.double()).flip(0)


def _update_present_classes(
    covariance: Tensor, kept: Tensor, deviations: Tensor, shifts: Tensor, targets: Tensor
) -> None:
    """One pass over the covariance of each class that is in the batch."""
    owners = torch.cat([targets, torch.arange(len(shifts))])
    rows = torch.cat([deviations, shifts])[owners.argsort(stable=True)]
    sizes = owners.bincount().tolist()
    for class_covariance, factor, block in zip(covariance, kept.tolist(), rows.split(sizes), strict=True):
        if len(block) == 2:  # a single sample is its own mean: only the shift counts
            torch.addr(class_covariance, block[1], block[1], beta=factor, out=class_covariance)
        elif len(block) > 2:
            class_covariance.addmm_(block.T, block, beta=factor)


def _update_every_class(
    covariance: Tensor, kept: Tensor, deviations: Tensor, shifts: Tensor, member: Tensor
) -> None:
    """The same in static shapes, without a wait for the device; needs a (K, N + 1, A) buffer, K classes."""
    at_once = classes_that_fit(deviations.numel() + deviations.shape[1])
    for start in range(0, len(covariance), at_once):
        some = slice(start, start + at_once)
        rows = torch.cat([deviations.expand(len(member[some]), -1, -1), shifts[some, None]], 1)
        rows[:, :-1] *= member[some, :, None]
        covariance[some].mul_(kept[some, None, None]).baddbmm_(rows.mT, rows)


def classes_that_fit(elements: int) -> int:
    """How many classes are done at once in static shapes, if a buffer has so many elements for each class."""
    return max(1, STATIC_LIMIT // elements)
