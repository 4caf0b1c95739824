"""The metrics of an evaluation, summed over its batches on the device.

A new metric is a function and its name in `METRICS`: the function gives the sum over the images of a batch,
and the metric is the mean over all images. Where the metric is not a mean, a second function computes it
from the sums. The configuration names a metric outside this package: `evaluate.metrics=[module.function]`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from isda_bench.config.metric_functions import metric_functions
from isda_bench.errors import ConfigError
from isda_bench.runtime.distributed import sum_over_ranks
from isda_bench.storage.confusion import CONFUSION

BINS = 15
"""Of the expected calibration error."""

MOST_CONFUSED = 100
"""Classes of which a confusion matrix is kept, at most."""

Value = float | list[Any]
"""A number; a list with an entry a class, None for a class without an image; or a matrix."""


def mean(sums: Tensor, images: float) -> Value:
    """The mean over all images, of a sum or of each of several."""
    values = sums / images
    return values.tolist()


def percent(sums: Tensor, images: float) -> Value:
    """A share of all images in percent."""
    return 100 * float(sums) / images


class Metric(NamedTuple):
    """How a metric is measured.

    Attributes:
        sums: logits (N, C) and targets (N,) of a batch -> sums over its images, of any one shape.
        value: sums over all images, float64, on the CPU, and the number of images -> the metric.
        above: number of classes up to which the metric has no meaning.
        most: the largest number of classes for which it is measured; null: any.
    """

    sums: Callable[[Tensor, Tensor], Tensor]
    value: Callable[[Tensor, float], Value] = mean
    above: int = 0
    most: int | None = None

    def suits(self, num_classes: int) -> bool:
        """Whether it is measured with so many classes."""
        return num_classes > self.above and (self.most is None or num_classes <= self.most)


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Negative log-likelihoods in nats."""
    return F.cross_entropy(logits.float(), targets, reduction="sum")


def errors(logits: Tensor, targets: Tensor) -> Tensor:
    """Number of images whose likeliest class is wrong."""
    return (logits.argmax(1) != targets).sum()


def top5_errors(logits: Tensor, targets: Tensor) -> Tensor:
    """Images whose class is not among the five likeliest ones."""
    ranked = logits.topk(min(5, logits.shape[1])).indices
    return (ranked != targets[:, None]).all(1).sum()


def calibration(logits: Tensor, targets: Tensor) -> Tensor:
    """Of each bin of the top-1 confidence: the sum of the confidences less the right answers, (15,).

    The bins (0, 1/15], (1/15, 2/15], ... are equally wide (Guo et al. 2017, "On Calibration of Modern Neural
    Networks", Eq. 3).
    """
    confidence, predicted = logits.double().softmax(1).max(1)
    upper = (confidence * BINS).ceil().clamp(min=1)
    gap = confidence - (predicted == targets).double()
    # As a product, so that CUDA's runs agree to the bit
    return gap @ (upper[:, None] == torch.arange(1, BINS + 1, device=logits.device)).double()


def expected_calibration_error(sums: Tensor, images: float) -> Value:
    """ECE in percent: the mean over all images of their bin's gap between confidence and accuracy."""
    return 100 * sum(map(abs, sums.tolist())) / images


def class_hits(logits: Tensor, targets: Tensor) -> Tensor:
    """Images and right answers of each class, (2, C)."""
    right = (logits.argmax(1) == targets).double()
    counts = torch.zeros(2, logits.shape[1], dtype=torch.float64, device=logits.device)
    return counts.index_add_(1, targets, torch.stack([torch.ones_like(right), right]))


def class_accuracies(sums: Tensor, images: float) -> Value:
    """The accuracy of each class in percent; None for a class without an image."""
    counts, right = sums.tolist()
    return [100 * hits / count if count else None for count, hits in zip(counts, right, strict=True)]


def confusions(logits: Tensor, targets: Tensor) -> Tensor:
    """Images of each class that the network takes for each class, (C, C): rows are the true classes."""
    classes = logits.shape[1]
    counts = torch.zeros(classes**2, dtype=torch.float64, device=logits.device)
    places = targets * classes + logits.argmax(1)
    return counts.index_add_(0, places, torch.ones_like(places, dtype=torch.float64)).view(classes, classes)


def counts(sums: Tensor, images: float) -> Value:
    """The sums as whole numbers."""
    return sums.long().tolist()


METRICS = {
    "loss": Metric(cross_entropy),
    "error": Metric(errors, percent),
    "ece": Metric(calibration, expected_calibration_error),
    "top5_error": Metric(top5_errors, percent, above=10),
    "class_accuracy": Metric(class_hits, class_accuracies),
}
"""Name, as it stands after the split in metrics.jsonl -> metric."""
LAST_EPOCH_METRICS = {CONFUSION: Metric(confusions, counts, most=MOST_CONFUSED)}
"""What the last epoch's evaluation measures too; it is too large for a line of metrics.jsonl."""


def with_further_metrics(names: Iterable[str]) -> dict[str, Metric]:
    """`METRICS`, and the means of further functions, each under the function's name.

    Args:
        names: of functions, with their modules.

    Raises:
        ConfigError: a function has the name of a metric that there is.
        ValueError: a name is no function's.
    """
    further = {name: Metric(function) for name, function in metric_functions(names).items()}
    taken = sorted(METRICS.keys() & further.keys())
    if taken:
        raise ConfigError([f"evaluate.metrics: there is a metric {name} already" for name in taken])
    return METRICS | further


class Measurement:
    """Gathers metrics over the batches of an evaluation; nothing is read from the device before the end.

    Args:
        num_classes: C.
        device: of the batches.
        metrics: name -> metric.
    """

    def __init__(
        self, num_classes: int, device: torch.device, metrics: Mapping[str, Metric] = METRICS
    ) -> None:
        self.metrics = {name: metric for name, metric in metrics.items() if metric.suits(num_classes)}
        self.num_classes = num_classes
        self.device = device
        self.images = 0
        self.sums: dict[str, Tensor] = {}

    def add(self, logits: Tensor, targets: Tensor) -> None:
        """Adds a batch: logits (N, C) and targets (N,)."""
        self.images += len(targets)
        for name, metric in self.metrics.items():
            sums = metric.sums(logits, targets).double()
            self.sums[name] = self.sums[name] + sums if name in self.sums else sums

    def values(self) -> dict[str, Value]:
        """The metrics of the batches of all ranks."""
        if not self.sums:  # no image of a small set was this rank's
            self.add(
                torch.zeros(1, self.num_classes, device=self.device),
                torch.zeros(1, dtype=torch.int64, device=self.device),
            )
            self.images, self.sums = 0, {name: torch.zeros_like(sums) for name, sums in self.sums.items()}
        images = torch.full((1,), self.images, dtype=torch.float64, device=self.device)
        parts = [images, *(sums.flatten() for sums in self.sums.values())]
        read = sum_over_ranks(torch.cat(parts)).tolist()  # the one wait for the device
        total, *found = torch.tensor(read, dtype=torch.float64).split([len(part) for part in parts])
        count = float(total)
        return {
            name: self.metrics[name].value(part.view(self.sums[name].shape), count)
            for name, part in zip(self.sums, found, strict=True)
        }
