r"""Implicit semantic data augmentation: the paper's loss and its gradient.

The expected cross-entropy under features drawn from N(a_i, lambda Sigma_{y_i}) is at most

    L    = mean_i -log softmax(z_i)[y_i]
    z_ij = w_j . a_i + b_j + (lambda / 2) (w_j - w_y)^T Sigma_y (w_j - w_y),         y = y_i

with a_i the features, y_i the class, w_j and b_j the rows of the last linear layer, Sigma_y the covariance of
class y's features (no gradient flows into it) and lambda = progress * strength (lambda_0 of the paper).

Gradients (supplement A), with p = softmax(z_i):

    Eq. 4:  dL/dz_j = dL/db_j = p_j - [j = y]
    Eq. 5:  dL/dw_j = (a_i + lambda (w_j - w_y) Sigma_y) p_j                            for j != y
            dL/dw_y = a_i (p_y - 1) - lambda sum_{n != y} p_n (w_n - w_y) Sigma_y
    Eq. 6:  dL/da   = sum_j w_j dL/dz_j

The supplement prints Eq. 4's case j != y with a minus sign and puts y_i inside the other's exponent, and in
Eq. 5's case j = y multiplies the whole sum by dL/dz_y instead of weighing each term by its own class's
dL/dz_n: the forms above are the right ones, and the tests hold them against autograd.

The quadratic form depends on the sample only through its class, so it is computed once for each class that is
in the batch: V = (W - w_c) Sigma_c, (C, A), gives the form's values now and its gradient as soon as the
softmax is known. Nothing of size N x C x A or N x A x A is made. `covariances` has the cheaper forms of the
ablation's other covariances.
"""

from typing import Any, Literal

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor
from torch.nn import functional as F

from isda_bench.arguments import checked
from isda_bench.losses.base import Loss, Outputs
from isda_bench.losses.checks import Number
from isda_bench.losses.class_statistics import ClassStatistics, classes_that_fit, needs_static_shapes
from isda_bench.losses.covariances import DiagonalCovariance, IdentityCovariance, SharedCovariance
from isda_bench.losses.low_rank_covariance import LowRankCovariance

Covariance = Literal["full", "diagonal", "shared", "identity", "lowrank"]
STATISTICS = {
    "full": ClassStatistics,
    "diagonal": DiagonalCovariance,
    "shared": SharedCovariance,
    "identity": IdentityCovariance,
}
RANK = 16  # of covariance=lowrank, by default
FULL_LIMIT = (
    8e9  # bytes of covariance=full: far more than any CIFAR network's, half of a ResNet-50's on ImageNet
)
WHOLE_LIMIT = 2**20  # elements of a (C, C, A) buffer up to which the CPU does all classes at once


class ISDA(Loss):
    """Cross-entropy of implicitly augmented features, with the class statistics kept online.

    Args:
        num_classes: C.
        feature_dim: A.
        strength: lambda_0, by which the covariances are multiplied at the end of the training; no unit.
        covariance: Sigma: each class's own, full (ISDA), diagonal (ISDA on ImageNet) or lowrank (a few
            directions and the diagonal); or the ablation's, shared by all classes or the identity.
        ramp: whether lambda grows in proportion to the progress (linear) or is always lambda_0 (constant).
        rank: directions of a class that lowrank keeps; null: 16. Nothing else takes one.

    Raises:
        ValueError: a strength below 0 or not finite, another covariance or ramp than these, full covariances
            that need more than 8 GB, a rank above A or without lowrank.
    """

    @checked
    def __init__(
        self,
        num_classes: PositiveInt,
        feature_dim: PositiveInt,
        strength: NonNegativeFloat = 0.5,
        covariance: Covariance = "full",
        ramp: Literal["linear", "constant"] = "linear",
        rank: PositiveInt | None = None,
    ) -> None:
        super().__init__(num_classes, feature_dim)
        self.strength = strength
        self.covariance = covariance
        self.ramp = ramp
        self.capturable = covariance != "lowrank"
        self.statistics = _statistics(covariance, num_classes, feature_dim, rank)

    def update_statistics(self, features: Tensor, targets: Tensor) -> None:
        """Takes one batch into the class statistics."""
        self.statistics.update(features, targets)

    def compute(self, outputs: Outputs, targets: Tensor, progress: Number) -> Tensor:
        """The augmented cross-entropy."""
        logits, weight = outputs.logits, outputs.head.weight.to(outputs.logits.dtype)
        strength = self.strength * progress if self.ramp == "linear" else self.strength
        if self.covariance == "full":
            return augmented_cross_entropy(logits, weight, self.statistics.covariance, targets, strength)
        form = self.statistics.quadratic_form(weight, targets)
        return F.cross_entropy(logits + (strength / 2) * form, targets)


def _statistics(covariance: Covariance, num_classes: int, feature_dim: int, rank: int | None) -> Any:
    if covariance == "lowrank":
        rank = min(RANK, feature_dim) if rank is None else rank
        if rank > feature_dim:
            raise ValueError(f"rank={rank}: the features have {feature_dim} dimensions only")
        return LowRankCovariance(num_classes, feature_dim, rank)
    if rank is not None:
        raise ValueError(f"rank={rank}: only for covariance=lowrank, not {covariance}")
    size = 4 * num_classes * feature_dim**2
    if covariance == "full" and size > FULL_LIMIT:
        raise ValueError(
            f"covariance=full: {num_classes} classes x {feature_dim}^2 features need {size / 1e9:.1f} GB, "
            f"above the limit of {FULL_LIMIT / 1e9:.0f} GB; take diagonal (the paper's choice) or lowrank"
        )
    return STATISTICS[covariance](num_classes, feature_dim)


def augmented_cross_entropy(
    logits: Tensor, weight: Tensor, covariance: Tensor, targets: Tensor, strength: Number
) -> Tensor:
    """The upper bound L, a scalar, with gradients for `logits` (and so features and bias) and `weight`.

    Args:
        logits: W a + b, (N, C).
        weight: W, (C, A).
        covariance: Sigma, (C, A, A), symmetric.
        targets: y, (N,).
        strength: lambda, a float or a 0-d tensor, which may want a gradient too.
    """
    if isinstance(strength, Tensor) and strength.requires_grad:  # the function below has no gradient for it
        _, _, _, form = _present_forms(weight, targets, covariance)
        return F.cross_entropy(logits + (strength / 2) * form, targets)
    loss: Tensor = _AugmentedCrossEntropy.apply(logits, weight, covariance, targets, strength)
    return loss


class _AugmentedCrossEntropy(torch.autograd.Function):
    """Computes the gradient along with the loss: V, the largest tensor in it, is then needed only once.

    Where gradients of gradients are asked for (create_graph=True), `backward` computes the gradient in a form
    that autograd can differentiate, which needs Sigma once more. Sigma is not saved by autograd: after an
    update between forward and backward pass that would refuse the first gradient too, which needs no Sigma.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, weight: Tensor, covariance: Tensor, targets: Tensor, strength: Number
    ) -> Tensor:
        if needs_static_shapes(weight):
            fits = classes_that_fit(weight.numel()) >= len(weight)
            augment = _augment_all_classes if fits else _augment_some_classes_at_once
        else:
            whole = len(weight) * weight.numel() <= WHOLE_LIMIT
            augment = _augment_all_classes if whole else _augment_class_by_class
        covariance = covariance.to(weight.dtype)
        log_p, grad_logits, grad_weight = augment(logits, weight, covariance, targets, strength)
        ctx.save_for_backward(grad_logits, grad_weight, logits, weight, targets)
        ctx.covariance, ctx.strength = covariance, strength
        ctx.version = None if torch.compiler.is_compiling() else covariance._version
        return F.nll_loss(log_p, targets)

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        grad_logits, grad_weight, logits, weight, targets = ctx.saved_tensors
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():  # create_graph=True
            if ctx.covariance._version != ctx.version:
                raise RuntimeError(
                    "covariance=full: the statistics have changed since this loss was computed, so that its "
                    "gradient cannot be differentiated again (create_graph=True); differentiate it first"
                )
            inputs = logits, weight, targets, ctx.covariance, ctx.strength
            grad_logits, grad_weight = _differentiable_gradients(*inputs)
        return grad_logits * grad_loss, grad_weight * grad_loss, None, None, None


def _differentiable_gradients(
    logits: Tensor, weight: Tensor, targets: Tensor, covariance: Tensor, strength: Number
) -> tuple[Tensor, Tensor]:
    """dL/dz and the quadratic form's part of dL/dW, as functions that autograd can differentiate."""
    present, owners, v, form = _present_forms(weight, targets, covariance)
    z = logits + (strength / 2) * form
    grad_logits = (z.softmax(1) - F.one_hot(targets, len(weight))) / len(targets)  # Eq. 4
    grad_z = strength * grad_logits.new_zeros(v.shape[:2]).index_add(0, owners, grad_logits)
    terms = grad_z[:, :, None] * v  # of Eq. 5, for each present class and each class
    return grad_logits, terms.sum(0).index_add(0, present, -terms.sum(1))


def _present_forms(
    weight: Tensor, targets: Tensor, covariance: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Present classes (K,), each sample's place among them (N,), V (K, C, A) and the samples' form (N, C)."""
    present, owners = targets.unique(return_inverse=True)
    differences = weight - weight[present][:, None]
    v = differences @ covariance[present].to(weight.dtype)
    return present, owners, v, (differences * v).sum(2)[owners]


def _augment_all_classes(
    logits: Tensor, weight: Tensor, covariance: Tensor, targets: Tensor, strength: Number
) -> tuple[Tensor, Tensor, Tensor]:
    """In fixed shapes: log p and dL/dz, both (N, C), and the quadratic form's part of dL/dW (C, A)."""
    differences = weight - weight[:, None, :]
    v = differences @ covariance
    z = logits + (strength / 2) * differences.mul_(v).sum(2)[targets]
    log_p = z.log_softmax(1)
    grad_logits = _grad_logits(log_p, targets)
    member = torch.arange(len(weight), device=targets.device)[:, None] == targets
    grad_z = member.to(z.dtype) @ grad_logits  # summed over each class
    grad_z *= strength
    grad_weight = (grad_z.T[:, None, :] @ v.transpose(0, 1) - grad_z[:, None, :] @ v).squeeze(1)
    return log_p, grad_logits, grad_weight


def _augment_some_classes_at_once(
    logits: Tensor, weight: Tensor, covariance: Tensor, targets: Tensor, strength: Number
) -> tuple[Tensor, Tensor, Tensor]:
    """The same in static shapes with (K, C, A) buffers, for K classes that fit in memory.

    A sample needs the quadratic form of its own class alone, so a chunk of classes finishes its samples; the
    rows of the others are computed with it, and weighted by 0.
    """
    log_p, grad_weight = torch.zeros_like(logits), torch.zeros_like(weight)
    at_once = classes_that_fit(weight.numel())
    for start, some in zip(range(0, len(weight), at_once), covariance.split(at_once), strict=True):
        differences = weight - weight[start : start + at_once, None, :]
        v = differences @ some
        own = targets - start
        form = differences.mul_(v).sum(2)[own.clamp(0, len(some) - 1)]
        here = (logits + (strength / 2) * form).log_softmax(1)
        member = torch.arange(len(some), device=targets.device)[:, None] == own
        grad_z = member.to(here.dtype) @ _grad_logits(here, targets) * strength
        grad_weight += torch.einsum("kc,kca->ca", grad_z, v)
        grad_weight[start : start + at_once] -= (grad_z[:, None, :] @ v).squeeze(1)
        log_p = torch.where(member.any(0)[:, None], here, log_p)
    return log_p, _grad_logits(log_p, targets), grad_weight


def _augment_class_by_class(
    logits: Tensor, weight: Tensor, covariance: Tensor, targets: Tensor, strength: Number
) -> tuple[Tensor, Tensor, Tensor]:
    """The same with (C, A) buffers that stay in the cache, skipping the classes that are not in the batch."""
    order = targets.argsort(stable=True)
    z = logits[order]
    scale = strength / len(targets)
    differences, v, grad_weight = torch.empty_like(weight), torch.empty_like(weight), torch.zeros_like(weight)
    sizes = targets.bincount(minlength=len(weight)).tolist()
    for c, rows in enumerate(z.split(sizes)):
        if not len(rows):
            continue
        torch.sub(weight, weight[c], out=differences)
        torch.mm(differences, covariance[c], out=v)
        rows += (strength / 2) * differences.mul_(v).sum(1)
        grad_z = rows.softmax(1).sum(0)  # Eq. 4, summed over the class
        grad_z[c] -= len(rows)
        grad_z *= scale
        grad_weight.addcmul_(v, grad_z[:, None])
        grad_weight[c] -= grad_z @ v
    log_p = torch.empty_like(z).index_copy_(0, order, z).log_softmax(1)
    return log_p, _grad_logits(log_p, targets), grad_weight


def _grad_logits(log_p: Tensor, targets: Tensor) -> Tensor:
    """dL/dz (Eq. 4) over the batch, to the bit the gradient of cross-entropy's backward pass."""
    grad_log_p = torch.zeros_like(log_p).scatter_(1, targets[:, None], -1.0 / len(targets))
    return torch.ops.aten._log_softmax_backward_data(grad_log_p, log_p, 1, log_p.dtype)
