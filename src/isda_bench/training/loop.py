"""The training loop: it names no technique."""

import math
import time
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from isda_bench.config.optimizer_choice import OptimizerChoice
from isda_bench.config.settings import TrainingRecipe
from isda_bench.data.base import Split
from isda_bench.data.loader import Loader
from isda_bench.errors import NonFiniteLoss
from isda_bench.losses.base import dominant
from isda_bench.monitoring.loggers import Logger
from isda_bench.monitoring.progress import Display
from isda_bench.runtime.distributed import sum_over_ranks
from isda_bench.storage.confusion import CONFUSION, keep_confusion
from isda_bench.storage.execution import record_execution, warn_of_another_execution
from isda_bench.storage.record_files import LAST_EPOCHS
from isda_bench.storage.run_directory import Metrics, RunDirectory
from isda_bench.training.capture import make_step
from isda_bench.training.evaluate import evaluate
from isda_bench.training.metrics import LAST_EPOCH_METRICS, METRICS, Metric
from isda_bench.training.optimizers import NESTEROV, make_optimizer, set_learning_rate
from isda_bench.training.schedules import learning_rate, progress, rate_factor, step_factors
from isda_bench.training.state import EpochProgress, RunState
from isda_bench.training.step import Step, TrainingModule


def fit(
    module: TrainingModule,
    schedule: TrainingRecipe,
    batches: Loader,
    evaluation: Loader,
    split: Split,
    directory: RunDirectory,
    display: Display,
    logger: Logger,
    evaluate_every: int = 1,
    checkpoint_every: int = 1,
    checkpoint_minutes: float | None = None,
    choice: OptimizerChoice = NESTEROV,
    measures: Mapping[str, Metric] = METRICS,
) -> list[Metrics]:
    """Trains to the schedule's last epoch, from the directory's newest checkpoint if it has one.

    Args:
        module: model and loss, on the device of `batches`.
        schedule: epochs and the optimizer's settings.
        batches: the training set.
        evaluation: the set on which the error is measured.
        split: its name, before the metrics measured on it.
        directory: where metrics and checkpoints go.
        display: shows how far it is.
        logger: receives each epoch's metrics.
        evaluate_every: epochs from one evaluation to the next; the last ten epochs are always evaluated.
        checkpoint_every: epochs from one checkpoint to the next; the last epoch always has one.
        checkpoint_minutes: from one checkpoint to the next within an epoch; null: none there.
        choice: of the optimizer, as in `make_optimizer`.
        measures: what is measured on the evaluation set: name -> metric.

    Returns:
        The metrics of every epoch.

    Raises:
        NonFiniteLoss: naming epoch and step; the checkpoints before it stay.
        NonFiniteState: naming what else became NaN or infinite, likewise.
        UserError: something cannot be written.
    """
    optimizer = make_optimizer(module, schedule, choice)
    state = RunState(module, optimizer, batches, directory, checkpoint_minutes)
    metrics = state.resume()
    step = make_step(module, optimizer, batches.sizes)
    logger.resume(metrics)
    warn_of_another_execution(directory, step.execution)
    display.begin(len(metrics), batches.step)
    for epoch in range(len(metrics) + 1, schedule.epochs + 1):
        start = time.perf_counter() - state.seconds_before
        set_learning_rate(optimizer, rate_factor(schedule, epoch))
        row: Metrics = {"epoch": epoch, "learning_rate": learning_rate(schedule, epoch)}
        factors = step_factors(schedule, epoch, len(batches))
        row |= train_epoch(step, batches, epoch, schedule.epochs, display, state, factors)
        if epoch % evaluate_every == 0 or epoch > schedule.epochs - LAST_EPOCHS:
            wanted = measures if epoch < schedule.epochs else {**measures, **LAST_EPOCH_METRICS}
            measured = evaluate(module.model, evaluation, module.bf16, wanted, display.evaluation)
            keep_confusion(directory, measured.pop(CONFUSION, None))  # type: ignore[arg-type]
            row |= {f"{split}_{name}": value for name, value in measured.items()}
        row["seconds"] = time.perf_counter() - start
        metrics.append(row)
        directory.append(row)
        record_execution(directory, step.execution)
        logger.log(row)
        display.epoch(row)
        if epoch % checkpoint_every == 0 or epoch == schedule.epochs:
            state.save()
    return metrics


def train_epoch(
    step: Step,
    batches: Loader,
    epoch: int,
    epochs: int,
    display: Display,
    state: RunState,
    factors: Sequence[float] = (),
) -> Metrics:
    """One pass over the training set; what is measured stays on the device until its end.

    The training error of mixed batches counts against their dominant classes: it is no error of real images.

    Args:
        step: makes a training step.
        batches: the training set.
        epoch: from 1.
        epochs: of the run.
        display: shows each step.
        state: saves within the epoch.
        factors: by which each step's learning rate differs from the first one; empty: one rate in an epoch.

    Raises:
        NonFiniteLoss: on the CPU before the step that would take it in; elsewhere at the end of the epoch, no
            update having been made from that step on.
    """
    step.module.train()
    device = batches.device
    sums, seconds_before = state.pop_epoch_progress()
    losses = torch.zeros(len(batches), device=device)
    first_step, total_steps = (epoch - 1) * len(batches), epochs * len(batches)
    start = time.perf_counter() - seconds_before
    progresses = torch.tensor(
        [progress(first_step + i, total_steps) for i in range(len(batches))],
        dtype=torch.float64,
        device=device,
    )
    for i, (images, targets, *mixed) in enumerate(batches, start=batches.step):
        if factors:
            set_learning_rate(step.optimizer, factors[i])
        loss, logits = step(images, targets, progresses[i], *mixed)
        if device.type == "cpu":
            _check_finite(loss[None], epoch, i)
        n = torch.full_like(loss, len(targets))
        sums += torch.stack([loss * n, (logits.argmax(1) != dominant(targets, *mixed)).sum(), n])
        losses[i] = loss
        display.step(len(targets))
        if state.due():
            _check_finite(losses, epoch, 0)
            state.save_within(EpochProgress(sums, time.perf_counter() - start))
    if device.type != "cpu":
        _check_finite(losses, epoch, 0)
    loss_sum, errors, samples = sum_over_ranks(sums).tolist()
    return {
        "train_loss": loss_sum / samples,
        "train_error": 100 * errors / samples,
        "images_per_second": samples / (time.perf_counter() - start),
    }


def _check_finite(losses: Tensor, epoch: int, first_step: int) -> None:
    for step, loss in enumerate(losses.tolist(), start=first_step):
        if not math.isfinite(loss):
            raise NonFiniteLoss(
                f"the loss is {loss} in epoch {epoch}, step {step + 1}: stopped there; "
                f"the checkpoints of the epochs before are kept"
            )
