"""ISDA in Hugging Face's Trainer: the network computes its own loss.

pip install transformers accelerate
python examples/hf_trainer.py
"""

import tempfile
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainingArguments

from isda_bench.losses import ISDA


class Classifier(nn.Module):
    """A backbone, a head and the loss."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(in_features, 32), nn.ReLU())
        self.head = nn.Linear(32, num_classes)
        self.isda = ISDA(num_classes, 32, strength=0.5)
        self.progress = 0.0

    def forward(self, images: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Logits, and with labels the loss."""
        features = self.backbone(images)
        logits = self.head(features)
        if labels is None:
            return {"logits": logits}
        loss = self.isda(features, labels, head=self.head, logits=logits, progress=self.progress)
        return {"loss": loss, "logits": logits}


class SetProgress(TrainerCallback):
    """Gives the network the completed part of the training before each step."""

    def __init__(self, model: Classifier) -> None:
        self.model = model

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Counts optimizer steps."""
        self.model.progress = state.global_step / state.max_steps


def main(epochs: int = 6) -> tuple[Classifier, float]:
    """Trains on three separate classes of random points; returns the network and its error, %."""
    torch.manual_seed(0)
    targets = torch.arange(96) % 3
    images = torch.randn(96, 8) + 3 * nn.functional.one_hot(targets, 8)
    data = [{"images": image, "labels": label} for image, label in zip(images, targets, strict=True)]
    model = Classifier(in_features=8, num_classes=3)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            num_train_epochs=epochs,
            per_device_train_batch_size=16,
            learning_rate=0.05,
            label_names=["labels"],
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        Trainer(model, arguments, train_dataset=data, callbacks=[SetProgress(model)]).train()
    model.eval().cpu()
    error = 100 * (model(images)["logits"].argmax(1) != targets).float().mean().item()
    print(f"error {error:.1f}%, lower is better")
    return model, error


if __name__ == "__main__":
    main()
