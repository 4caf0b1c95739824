"""A covariance of each class as r directions and a diagonal: for sizes at which C x A x A does not fit.

Eq. 2 adds rows R to the past (`OnlineStatistics`); an incremental singular value decomposition (Ross et al.
2008, "Incremental Learning for Robust Visual Tracking") keeps the r longest directions, the rows of B. With
M = [sqrt(n / (n + m)) B; R] and M^T M = sum_i l_i x_i x_i^T, l_1 >= l_2 >= ..., a batch leaves

    B <- rows sqrt(l_i) x_i^T,  i <= r

and drops the sum over i > r, of which the diagonal joins s. So Sigma = B^T B + diag(s) has the exact
variances, and equals the full covariance where the rank of that is at most r. What was dropped is positive
semidefinite, and a batch drops at most l_{r+1} in any direction; so else, in the spectral norm,

    ||Sigma - Sigma_full||_2 <= D,      D <- n / (n + m) D + l_{r+1},

which is kept beside it (the attribute `bound`). Frequent Directions, which shrinks all directions by l_{r+1},
has a bound that is known beforehand, but its covariances were up to three times further off.
"""

import torch
from pydantic import PositiveInt
from torch import Tensor

from isda_bench.arguments import checked
from isda_bench.losses.class_statistics import OnlineStatistics

CLASSES_AT_ONCE = 64  # whose rows are rotated together: what bounds the work memory


class LowRankCovariance(OnlineStatistics):
    """r directions and a diagonal for each class's features; the state is C x (r + 2) x A.

    Its shapes depend on the batch, so that compiled code refuses it and CUDA waits for it.

    Args:
        num_classes: C.
        feature_dim: A.
        rank: r.

    Attributes:
        directions: B (C, r, A), the longest first.
        variances: s (C, A).
        bound: D (C,), float64.
    """

    directions: Tensor
    variances: Tensor
    bound: Tensor

    @checked
    def __init__(self, num_classes: PositiveInt, feature_dim: PositiveInt, rank: PositiveInt) -> None:
        super().__init__(num_classes, feature_dim)
        self.rank = rank
        self.register_buffer("directions", torch.zeros(num_classes, rank, feature_dim))
        self.register_buffer("variances", torch.zeros(num_classes, feature_dim))
        self.register_buffer("bound", torch.zeros(num_classes, dtype=torch.float64))

    def _spread(
        self, kept: Tensor, deviations: Tensor, shifts: Tensor, targets: Tensor, member: Tensor
    ) -> None:
        present = targets[member.any(0)].unique()
        for classes in present.split(CLASSES_AT_ONCE) if len(present) else ():
            chosen = torch.isin(targets, classes)
            owners = torch.searchsorted(classes, targets[chosen])
            rows = torch.cat([shifts[classes, None], _padded(deviations[chosen], owners, len(classes))], 1)
            old = kept[classes, None].sqrt()[:, :, None] * self.directions[classes]
            kept_rows, dropped, largest = _truncate(torch.cat([old, rows], 1), self.rank)
            self.directions[classes] = kept_rows
            self.variances[classes] = kept[classes, None] * self.variances[classes] + dropped
            self.bound[classes] = kept[classes] * self.bound[classes] + largest

    def covariance_of(self, label: int) -> Tensor:
        """Sigma of class `label`, (A, A): B^T B + diag(s)."""
        directions = self.directions[label]
        return directions.T @ directions + self.variances[label].diag()

    def quadratic_form(self, weight: Tensor, targets: Tensor) -> Tensor:
        """The form of W (C, A) and y (N,); its largest buffers have min(N, C) x r x A and x C elements."""
        if len(targets) < len(weight):
            return self._form(weight, targets)
        return self._form(weight, torch.arange(len(weight), device=weight.device))[targets]

    def _form(self, weight: Tensor, owners: Tensor) -> Tensor:
        """The form for these classes, (K, C), with an exact 0 for a class and itself."""
        directions, variances = (b[owners].to(weight.dtype) for b in (self.directions, self.variances))
        own = owners[:, None]
        projected = directions @ weight.T
        low_rank = (projected - projected.take_along_dim(own[:, :, None], 2)).square().sum(1)
        squares = variances @ weight.square().T
        diagonal = squares - 2 * (variances * weight[owners]) @ weight.T + squares.gather(1, own)
        same = own == torch.arange(len(weight), device=weight.device)
        return (low_rank + diagonal).masked_fill(same, 0)


def _padded(rows: Tensor, owners: Tensor, groups: int) -> Tensor:
    """The rows (M, A) of each group, (groups, most rows of one, A), filled up with zeros."""
    order = owners.argsort(stable=True)
    sizes = owners.bincount(minlength=groups)
    places = torch.arange(len(rows), device=rows.device) - (sizes.cumsum(0) - sizes)[owners[order]]
    padded = rows.new_zeros(groups, int(sizes.max()), rows.shape[1])
    padded[owners[order], places] = rows[order]
    return padded


def _truncate(rows: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """The singular value decomposition of M, cut after r directions.

    Args:
        rows: M (K, at least r + 1, A).
        rank: r.

    Returns:
        B (K, r, A), the diagonal of the dropped part (K, A), and l_{r+1} (K,), float64.
    """
    gram = rows.double() @ rows.double().mT  # squares would cost float32 half its digits
    values, vectors = (part.flip(-1) for part in torch.linalg.eigh(gram))
    rotated = vectors.mT.to(rows.dtype) @ rows
    return rotated[:, :rank], rotated[:, rank:].square().sum(1), values[:, rank].clamp(min=0)
