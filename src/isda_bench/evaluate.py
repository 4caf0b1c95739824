"""The error of a classifier on a set of images."""

import math

import torch
from torch.nn import functional as F

from isda_bench.data.loader import Loader
from isda_bench.errors import NonFiniteLoss
from isda_bench.models.base import Classifier


@torch.no_grad()
def evaluate(model: Classifier, batches: Loader, bf16: bool = False) -> dict[str, float]:
    """Mean cross-entropy and error (percent) of the plain logits; draws no random number.

    Raises:
        NonFiniteLoss: the error of such logits would mean nothing.
    """
    training = model.training
    model.eval()
    totals = torch.zeros(2, dtype=torch.float64, device=batches.targets.device)
    for images, targets in batches:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
            logits = model(images)
        loss = F.cross_entropy(logits.float(), targets, reduction="sum")
        totals += torch.stack([loss, (logits.argmax(1) != targets).sum()])
    model.train(training)
    loss_sum, errors = totals.tolist()
    if not math.isfinite(loss_sum):
        raise NonFiniteLoss(
            f"the loss of the evaluation is {loss_sum}: stopped there; the checkpoints of before are kept"
        )
    return {"loss": loss_sum / batches.samples, "error": 100 * errors / batches.samples}
