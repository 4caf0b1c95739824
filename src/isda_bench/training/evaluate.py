"""Measures a classifier on a set of images."""

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from isda_bench.config.run_config import settings_of
from isda_bench.data.base import Split
from isda_bench.data.loader import Loader, evaluation_loader
from isda_bench.errors import NonFiniteLoss
from isda_bench.loading import load_run, stored_dataset
from isda_bench.models.base import Classifier
from isda_bench.runtime.devices import requested_device, set_precision
from isda_bench.runtime.distributed import broadcast_tensors_
from isda_bench.runtime.library_faults import on_device
from isda_bench.storage.data_check import check_data
from isda_bench.storage.record_files import DATA, RECORD
from isda_bench.storage.run_results import LAST_EPOCHS
from isda_bench.training.metrics import LAST_EPOCH_METRICS, METRICS, Measurement, Metric, Value
from isda_bench.training.step import TrainingModule


@torch.no_grad()
def evaluate(
    model: Classifier,
    batches: Loader,
    bf16: bool = False,
    metrics: Mapping[str, Metric] = METRICS,
    watch: Callable[[Loader], Iterable[Any]] = iter,
) -> dict[str, Value]:
    """Metrics of the plain logits; draws no random number.

    Args:
        model: the network; its mode is restored.
        batches: the images to evaluate on.
        bf16: whether the network runs under bfloat16 autocast.
        metrics: name -> metric.
        watch: passes the batches through and shows the progress.

    Returns:
        Name -> value: of `METRICS` the mean cross-entropy, the errors and ECE in percent, and the accuracy of
        each class in percent.

    Raises:
        NonFiniteLoss: the error of such logits would mean nothing.
    """
    training = model.training
    model.eval()
    broadcast_tensors_(*model.buffers())
    measurement = Measurement(model.head.out_features, batches.device, metrics)
    for images, targets in watch(batches):
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
            logits = model(images)
        measurement.add(logits, targets)
    model.train(training)
    measured = measurement.values()
    loss = measured["loss"]
    if not isinstance(loss, float) or not math.isfinite(loss):
        raise NonFiniteLoss(
            f"the loss of the evaluation is {loss}: stopped there; the earlier checkpoints are kept"
        )
    return measured


class EvaluationPlan(NamedTuple):
    """On which images, by which metrics and how often a training is evaluated."""

    batches: Loader
    split: Split
    """Name of the images, before the metrics measured on them."""
    metrics: Mapping[str, Metric] = METRICS
    every: int = 1
    """Epochs from one evaluation to the next; the last ten epochs are always evaluated."""

    def is_due(self, epoch: int, epochs: int) -> bool:
        """Whether the network is evaluated after `epoch` of `epochs`, counted from 1."""
        return epoch % self.every == 0 or epoch > epochs - LAST_EPOCHS

    def measure(
        self,
        module: TrainingModule,
        watch: Callable[[Loader], Iterable[Any]] = iter,
        last: bool = False,
    ) -> dict[str, Value]:
        """`evaluate` of the module's network; <split>_<name> -> value.

        Args:
            module: with the network.
            watch: as in `evaluate`.
            last: whether no evaluation follows: it measures `LAST_EPOCH_METRICS` too.
        """
        metrics = {**self.metrics, **LAST_EPOCH_METRICS} if last else self.metrics
        measured = evaluate(module.model, self.batches, module.bf16, metrics, watch)
        return {f"{self.split}_{name}": value for name, value in measured.items()}


def evaluate_run(
    path: str | Path, root: str | None = None, device: str = "auto", allow: str | tuple[str, ...] = ()
) -> dict[str, Value]:
    """Measures a finished run again, on the images on which it was evaluated.

    The process then computes in the run's precision (`set_precision`).

    Args:
        path: the run's directory.
        root: where the data set is, if not where it was then.
        device: as the configuration's.
        allow: as in `load_run`.

    Raises:
        UserError: as `load_run`; the data set is missing, or is not that of the run.
    """
    config, model, record = load_run(path, allow, root)
    directory = Path(path).expanduser()
    dataset = stored_dataset(directory / RECORD, config, root, allow)
    settings = settings_of(config)
    where = requested_device(device)
    data = dataset.load()
    check_data(directory, record.get(DATA), data.checksum, "root=... says where the data of the run are")
    batches = evaluation_loader(data.evaluation, dataset, where)
    set_precision(settings.precision)
    return evaluate(on_device(model, where), batches, bf16=settings.precision == "bf16")
