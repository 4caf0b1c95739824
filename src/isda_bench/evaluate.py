"""The error of a classifier on a set of images."""

import math

import torch
from torch.nn import functional as F

from isda_bench.data.loader import Loader
from isda_bench.distributed import copy_first_rank, sum_over_ranks
from isda_bench.errors import NonFiniteLoss
from isda_bench.models.base import Classifier

TOP_5_ABOVE = 10
"""Classes above which the top-5 error tells something."""


@torch.no_grad()
def evaluate(model: Classifier, batches: Loader, bf16: bool = False) -> dict[str, float]:
    """Mean cross-entropy and error (percent) of the plain logits; draws no random number.

    With more than ten classes also the top-5 error: the part of the images whose class is not among the five
    likeliest ones.

    Raises:
        NonFiniteLoss: the error of such logits would mean nothing.
    """
    training = model.training
    model.eval()
    copy_first_rank(*model.buffers())
    sums = torch.zeros(4, dtype=torch.float64, device=batches.device)
    for images, targets in batches:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
            logits = model(images)
        loss = F.cross_entropy(logits.float(), targets, reduction="sum")
        ranked = logits.topk(min(5, logits.shape[1])).indices
        errors = (logits.argmax(1) != targets).sum()
        top5_errors = (ranked != targets[:, None]).all(1).sum()
        sums += torch.stack([loss, errors, top5_errors, torch.full_like(errors, len(targets))])
    model.train(training)
    loss_sum, errors, top5_errors, samples = sum_over_ranks(sums).tolist()
    if not math.isfinite(loss_sum):
        raise NonFiniteLoss(
            f"the loss of the evaluation is {loss_sum}: stopped there; the checkpoints of before are kept"
        )
    measured = {"loss": loss_sum / samples, "error": 100 * errors / samples}
    if model.head.out_features > TOP_5_ABOVE:
        measured["top5_error"] = 100 * top5_errors / samples
    return measured
