"""ISDA with mixup (Zhang et al. 2018): pass both targets and the weight of the first.

python examples/mixup.py
"""

import torch
from torch import nn

from isda_bench.losses import ISDA

ALPHA = 0.2


def main(steps: int = 60) -> tuple[float, ISDA]:
    """Trains on three separate classes of random points; returns the error, %, and the loss."""
    torch.manual_seed(0)
    targets = torch.arange(96) % 3
    images = torch.randn(96, 8) + 3 * nn.functional.one_hot(targets, 8)
    backbone = nn.Sequential(nn.Linear(8, 32), nn.ReLU())
    head = nn.Linear(32, 3)
    isda = ISDA(num_classes=3, feature_dim=32, strength=0.5)
    optimizer = torch.optim.SGD([*backbone.parameters(), *head.parameters()], lr=0.1)
    mixing = torch.distributions.Beta(ALPHA, ALPHA)

    for step in range(steps):
        rows = torch.randint(len(images), (32,))
        others = rows[torch.randperm(32)]
        weight = mixing.sample()
        features = backbone(weight * images[rows] + (1 - weight) * images[others])
        loss = isda(features, targets[rows], step / steps, second=targets[others], weight=weight, head=head)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    error = 100 * (head(backbone(images)).argmax(1) != targets).float().mean().item()
    print(f"error {error:.1f}%, lower is better")
    return error, isda


if __name__ == "__main__":
    main()
