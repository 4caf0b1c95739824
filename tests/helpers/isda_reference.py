"""ISDA written plainly, a sample and a class at a time."""

import math

import torch
from torch import Tensor


def closed_form(features: Tensor, targets: Tensor, classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Number, mean and biased covariance of each class over all samples together."""
    count = torch.zeros(classes, dtype=torch.int64)
    mean = features.new_zeros(classes, features.shape[1])
    covariance = features.new_zeros(classes, features.shape[1], features.shape[1])
    for j in range(classes):
        own = features[targets == j]
        count[j] = len(own)
        if len(own):
            mean[j] = own.mean(0)
            covariance[j] = torch.cov(own.T, correction=0).reshape(covariance[j].shape)
    return count, mean, covariance


def augmented_logits(
    a: Tensor, y: int, weight: Tensor, bias: Tensor, sigma: Tensor, strength: float
) -> Tensor:
    """z_i of one sample."""
    z = []
    for w, b in zip(weight, bias, strict=True):
        v = w - weight[y]
        z.append(w @ a + b + strength / 2 * (v @ sigma @ v))
    return torch.stack(z)


def isda_loss(
    features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, covariance: Tensor, strength: float
) -> Tensor:
    """The mean over the batch; autograd differentiates it."""
    losses = []
    for a, y in zip(features, targets.tolist(), strict=True):
        z = augmented_logits(a, y, weight, bias, covariance[y], strength)
        losses.append(-(z[y] - torch.logsumexp(z, 0)))
    return torch.stack(losses).mean()


def isda_gradients(
    features: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, covariance: Tensor, strength: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients for features, weight and bias by the corrected Eq. 4-6."""
    grad_features, grad_weight = torch.zeros_like(features), torch.zeros_like(weight)
    grad_bias = torch.zeros_like(bias)
    for i, (a, y) in enumerate(zip(features, targets.tolist(), strict=True)):
        sigma = covariance[y]
        z = augmented_logits(a, y, weight, bias, sigma, strength)
        p = [math.exp(value - torch.logsumexp(z, 0)) for value in z]
        for j in range(len(weight)):
            dz = p[j] - (j == y)  # Eq. 4
            grad_bias[j] += dz
            grad_features[i] += weight[j] * dz  # Eq. 6
            if j != y:  # Eq. 5
                shift = strength * (weight[j] - weight[y]) @ sigma
                grad_weight[j] += (a + shift) * p[j]
                grad_weight[y] -= shift * p[j]
        grad_weight[y] += a * (p[y] - 1)
    return grad_features / len(features), grad_weight / len(features), grad_bias / len(features)
