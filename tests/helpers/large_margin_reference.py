"""L-Softmax written from the paper, one sample at a time, with its gradient by hand.

Liu et al. 2016, "Large-Margin Softmax Loss for Convolutional Neural Networks", Eq. 4-6 and section 5.1:

    f_y = ||w_y|| ||x|| (lambda cos(theta) + psi(theta)) / (1 + lambda),     f_j = w_j . x + b_j
    psi(theta) = (-1)^k cos(m theta) - 2 k,       theta in [k pi / m, (k + 1) pi / m]
    psi'(theta) = -(-1)^k m sin(m theta)
    d theta / dx = -(w / (||w|| ||x||) - cos(theta) x / ||x||^2) / sin(theta)
"""

import numpy as np


def psi(theta: float, margin: int) -> tuple[float, float]:
    """The value and the slope for theta in [0, pi]."""
    k = min(int(np.floor(theta * margin / np.pi)), margin - 1)
    sign = (-1.0) ** k
    return sign * np.cos(margin * theta) - 2 * k, -sign * margin * np.sin(margin * theta)


def target_logit(w: np.ndarray, x: np.ndarray, margin: int, annealing: float) -> tuple:
    """f_y without its bias, and the gradients for w and x."""
    v, u = np.linalg.norm(w), np.linalg.norm(x)
    cosine = w @ x / (u * v)
    theta = np.arccos(np.clip(cosine, -1, 1))
    value, slope = psi(theta, margin)
    value, slope = annealing * cosine + value, slope - annealing * np.sin(theta)
    turn_w = -(x / (u * v) - cosine * w / v**2) / np.sin(theta)
    turn_x = -(w / (u * v) - cosine * x / u**2) / np.sin(theta)
    grad_w = u * value * w / v + u * v * slope * turn_w
    grad_x = v * value * x / u + u * v * slope * turn_x
    return u * v * value / (1 + annealing), grad_w / (1 + annealing), grad_x / (1 + annealing)


def large_margin(
    features: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    targets: np.ndarray,
    margin: int,
    annealing: float,
) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """The mean loss and its gradients for features, weight and bias."""
    total, grads = 0.0, [np.zeros_like(features), np.zeros_like(weight), np.zeros_like(bias)]
    for i, (x, y) in enumerate(zip(features, targets, strict=True)):
        z = weight @ x + bias
        logit, grad_w, grad_x = target_logit(weight[y], x, margin, annealing)
        z[y] = logit + bias[y]
        p = np.exp(z - z.max())
        p /= p.sum()
        total -= np.log(p[y])
        p[y] -= 1
        for j, dz in enumerate(p):
            grads[0][i] += dz * (grad_x if j == y else weight[j])
            grads[1][j] += dz * (grad_w if j == y else x)
            grads[2][j] += dz
    n = len(features)
    return total / n, *(grad / n for grad in grads)
