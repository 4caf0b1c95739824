"""ISDA in Lightning, with the gradients of two batches in each step.

pip install lightning
python examples/lightning_accumulation.py
"""

from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from isda_bench.losses import ISDA


class Classifier(lightning.LightningModule):
    """A backbone, a head and the loss; the loss's statistics are buffers and so part of checkpoints."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(in_features, 32), nn.ReLU())
        self.head = nn.Linear(32, num_classes)
        self.isda = ISDA(num_classes, 32, strength=0.5)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        return self.head(self.backbone(images))

    def training_step(self, batch: Any, _: int) -> Tensor:
        """The loss of one batch; `global_step` counts optimizer steps, as `estimated_stepping_batches`."""
        images, targets = batch
        progress = self.global_step / self.trainer.estimated_stepping_batches
        return self.isda(self.backbone(images), targets, head=self.head, progress=progress)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain SGD."""
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def main(epochs: int = 3) -> tuple[Classifier, lightning.Trainer]:
    """Trains on three separate classes of random points."""
    lightning.seed_everything(0, verbose=False)
    targets = torch.arange(96) % 3
    images = torch.randn(96, 8) + 3 * nn.functional.one_hot(targets, 8)
    loader = DataLoader(TensorDataset(images, targets), batch_size=16, shuffle=True)
    model = Classifier(in_features=8, num_classes=3)
    trainer = lightning.Trainer(
        max_epochs=epochs,
        accumulate_grad_batches=2,
        accelerator="auto",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, loader)
    error = 100 * (model.eval()(images).argmax(1) != targets).float().mean().item()
    print(f"{trainer.global_step} steps, error {error:.1f}%, lower is better")
    return model, trainer


if __name__ == "__main__":
    main()
