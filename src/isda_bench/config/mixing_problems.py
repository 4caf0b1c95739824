"""Problems of mixed batches (mixup, cutmix) in a configuration."""

from typing import Any

import torch

from isda_bench.data.base import DataSet
from isda_bench.data.loader import MixedBatch
from isda_bench.losses.base import Loss

IMAGES = 4


def mixing_problems(
    mixing: Any, has_generator: bool, loss: Loss | None, dataset: DataSet | None
) -> list[str]:
    """Reasons against mixed batches, a sentence each; a batch of black images is mixed as a trial.

    Args:
        mixing: the built component.
        has_generator: whether batches have generated images.
        loss: the built loss; None where it has problems.
        dataset: the built data set; None where it has problems.
    """
    problems = []
    if has_generator:
        problems.append("mix: generated images are not mixed with others; leave mix=none or generator=none")
    if loss is not None and not loss.mixable:
        name = type(loss).__name__
        problems.append(f"mix: a mixed image has no one class, which the loss {name} needs; leave mix=none")
    if dataset is not None and dataset.image_size is not None:
        problems += _rehearsal_problems(mixing, dataset.in_channels, dataset.image_size)
    return problems


def _rehearsal_problems(mixing: Any, channels: int, side: int) -> list[str]:
    images, targets = torch.zeros(IMAGES, channels, side, side), torch.arange(IMAGES)
    try:
        with torch.random.fork_rng(devices=[]):
            batch = mixing(images, targets)
    except (RuntimeError, IndexError, ValueError, TypeError) as error:
        return [f"mix: does not fit the images of the data set: {str(error).splitlines()[0]}"]
    if not isinstance(batch, MixedBatch) or batch.weight.ndim or batch.second.shape != targets.shape:
        return ["mix: should make a MixedBatch with a second class for each image and one weight, 0-d"]
    return []
