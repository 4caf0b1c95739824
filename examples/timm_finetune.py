"""ISDA fine-tunes a pretrained network of timm on a folder of images, <folder>/<class>/*.

python examples/timm_finetune.py <folder> <weights.safetensors> [network]

The file has the whole pretrained network; its last layer is not used. Without `pretrained_cfg_overlay` timm
downloads the weights.
"""

import sys
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data import create_transform, resolve_model_data_config
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

from isda_bench.losses import ISDA

EPOCHS = 3


def main(folder: str | Path, weights: str | Path, name: str = "resnet18", epochs: int = EPOCHS) -> float:
    """Trains on the folder; returns the error on the same images without augmentation, %."""
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    source = {"file": str(weights)}
    backbone: Any = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=source, num_classes=0)
    backbone.to(device)
    data = resolve_model_data_config(backbone)
    images = ImageFolder(str(folder), create_transform(**data, is_training=True))
    plain = ImageFolder(str(folder), create_transform(**data, is_training=False))
    loader = DataLoader(images, batch_size=8, shuffle=True, drop_last=len(images) > 8)

    head = nn.Linear(backbone.num_features, len(images.classes)).to(device)
    isda = ISDA(head.out_features, head.in_features, strength=0.25).to(device)
    optimizer = torch.optim.SGD(
        [{"params": backbone.parameters(), "lr": 0.001}, {"params": head.parameters(), "lr": 0.01}],
        momentum=0.9,
    )
    step, total_steps = 0, epochs * len(loader)
    backbone.train()
    for _ in range(epochs):
        for batch, labels in loader:
            features = backbone(batch.to(device))
            loss = isda(features, labels.to(device), head=head, progress=step / total_steps)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1

    backbone.eval()
    wrong = 0
    with torch.no_grad():
        for batch, labels in DataLoader(plain, batch_size=8):
            wrong += int((head(backbone(batch.to(device))).argmax(1).cpu() != labels).sum())
    error = 100 * wrong / len(plain)
    print(f"error {error:.1f}%, lower is better")
    return error


if __name__ == "__main__":
    images_folder, weights_file, *network = sys.argv[1:]
    main(images_folder, weights_file, *network[:1])  # type: ignore[arg-type]
