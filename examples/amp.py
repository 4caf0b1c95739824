"""ISDA in a plain PyTorch loop with automatic mixed precision.

python examples/amp.py
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from isda_bench.losses import ISDA

EPOCHS = 5


def main(epochs: int = EPOCHS) -> float:
    """Trains on 1,200 of the digits; returns the error on the others, %."""
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
    targets = torch.tensor(digits.target)
    loader = DataLoader(TensorDataset(images[:1200], targets[:1200]), batch_size=50, shuffle=True)

    backbone = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
    ).to(device)  # fmt: skip
    head = nn.Linear(128, 10).to(device)
    isda = ISDA(num_classes=10, feature_dim=128, strength=0.5).to(device)
    optimizer = torch.optim.SGD([*backbone.parameters(), *head.parameters()], lr=0.1, momentum=0.9)

    step, total_steps = 0, epochs * len(loader)
    for _ in range(epochs):
        for batch, labels in loader:
            batch, labels = batch.to(device), labels.to(device)
            with torch.autocast(device, dtype=torch.bfloat16):
                features = backbone(batch)
                loss = isda(features, labels, head=head, progress=step / total_steps)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1

    backbone.eval()
    with torch.no_grad():
        predicted = head(backbone(images[1200:].to(device))).argmax(1).cpu()
    error = 100 * (predicted != targets[1200:]).float().mean().item()
    print(f"error {error:.1f}%, lower is better")
    return error


if __name__ == "__main__":
    main()
