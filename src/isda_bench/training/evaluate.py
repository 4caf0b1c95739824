"""The error of a classifier on a set of images."""

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from isda_bench.config.run_config import settings_of
from isda_bench.data.loader import Loader, evaluation_loader
from isda_bench.errors import ConfigError, NonFiniteLoss
from isda_bench.loading import load_run, stored_dataset
from isda_bench.models.base import Classifier
from isda_bench.runtime.devices import choose_device, set_precision
from isda_bench.runtime.distributed import broadcast_tensors_, sum_over_ranks
from isda_bench.runtime.library_faults import on_device
from isda_bench.storage.data_check import check_data
from isda_bench.storage.record_files import DATA, RECORD

TOP_5_ABOVE = 10
"""Classes above which the top-5 error tells something."""
CONFIDENCE_BINS = 15
"""Of the calibration error: equal ones in [0, 1]."""


@torch.no_grad()
def evaluate(
    model: Classifier,
    batches: Loader,
    bf16: bool = False,
    watch: Callable[[Loader], Iterable[Any]] = iter,
) -> dict[str, float]:
    """Mean cross-entropy, error and calibration error (percent) of the plain logits; draws no random number.

    The expected calibration error (Guo et al. 2017) is the mean over images of the gap between accuracy and
    mean confidence in the bin of each; the confidence is the largest probability. With more than ten classes
    there is also the top-5 error: the part of the images whose class is not among the five likeliest ones.

    Args:
        model: the network.
        batches: the images to evaluate on.
        bf16: whether the network runs under bfloat16 autocast.
        watch: gives the batches on, and shows how far the evaluation is.

    Raises:
        NonFiniteLoss: the error of such logits would mean nothing.
    """
    training = model.training
    model.eval()
    broadcast_tensors_(*model.buffers())
    sums = torch.zeros(4 + CONFIDENCE_BINS, dtype=torch.float64, device=batches.device)
    for images, targets in watch(batches):
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
            logits = model(images)
        loss = F.cross_entropy(logits.float(), targets, reduction="sum")
        ranked = logits.topk(min(5, logits.shape[1])).indices
        errors = (logits.argmax(1) != targets).sum()
        top5_errors = (ranked != targets[:, None]).all(1).sum()
        sums[:4] += torch.stack([loss, errors, top5_errors, torch.full_like(errors, len(targets))])
        sums[4:] += _confidence_gaps(logits, targets)
    model.train(training)
    loss_sum, errors, top5_errors, samples, *gaps = sum_over_ranks(sums).tolist()
    if not math.isfinite(loss_sum):
        raise NonFiniteLoss(
            f"the loss of the evaluation is {loss_sum}: stopped there; the checkpoints of before are kept"
        )
    measured = {"loss": loss_sum / samples, "error": 100 * errors / samples}
    measured["ece"] = 100 * sum(map(abs, gaps)) / samples
    if model.head.out_features > TOP_5_ABOVE:
        measured["top5_error"] = 100 * top5_errors / samples
    return measured


def _confidence_gaps(logits: Tensor, targets: Tensor) -> Tensor:
    """Correct predictions less the confidence in them, summed over the images of each bin, (bins,), float64.

    Bins are open on the left: (0, 1/15], (1/15, 2/15], ... A matrix product sums: it waits for nothing and is
    deterministic on CUDA.
    """
    confidence, predicted = logits.double().softmax(1).max(1)
    bins = (confidence * CONFIDENCE_BINS).ceil().long().clamp(1, CONFIDENCE_BINS) - 1
    members = (bins[:, None] == torch.arange(CONFIDENCE_BINS, device=bins.device)).double()
    return ((predicted == targets).double() - confidence) @ members


def evaluate_run(
    path: str | Path, root: str | None = None, device: str = "auto", allow: str | tuple[str, ...] = ()
) -> dict[str, float]:
    """Measures a finished run's loss and error again, on the images on which it was evaluated.

    The process then computes in the run's precision (`set_precision`).

    Args:
        path: the run's directory.
        root: where the data set is, if not where it was then.
        device: as the configuration's.
        allow: as in `load_run`.

    Raises:
        UserError: as `load_run`, the data set cannot be had, or it is not the one of the run.
    """
    config, model, record = load_run(path, allow, root)
    directory = Path(path).expanduser()
    dataset = stored_dataset(directory / RECORD, config, root, allow)
    settings = settings_of(config)
    where = _device(device)
    data = dataset.load()
    check_data(directory, record.get(DATA), data.checksum, "root=... says where the data of the run are")
    batches = evaluation_loader(data.evaluation, dataset, where)
    set_precision(settings.precision)
    return evaluate(on_device(model, where), batches, bf16=settings.precision == "bf16")


def _device(name: str) -> torch.device:
    try:
        return choose_device(name)
    except ValueError as error:
        raise ConfigError([str(error)]) from error
