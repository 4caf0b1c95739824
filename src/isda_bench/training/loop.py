"""The training loop: it names no technique."""

import math
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from isda_bench.config.optimizer_choice import OptimizerChoice
from isda_bench.config.settings import Checkpoint, TrainingRecipe
from isda_bench.data.loader import Loader
from isda_bench.errors import NonFiniteLoss
from isda_bench.losses.base import dominant
from isda_bench.monitoring.loggers import Logger
from isda_bench.monitoring.progress import Display
from isda_bench.runtime.distributed import sum_over_ranks
from isda_bench.storage.confusion import CONFUSION, keep_confusion
from isda_bench.storage.execution import record_execution, warn_of_another_execution
from isda_bench.storage.run_directory import RunDirectory
from isda_bench.storage.run_results import Metrics
from isda_bench.training.capture import make_step
from isda_bench.training.evaluate import EvaluationPlan
from isda_bench.training.optimizers import NESTEROV, make_optimizer, set_learning_rate
from isda_bench.training.schedules import learning_rate, progress_of_steps, rate_factor, step_factors
from isda_bench.training.state import EpochProgress, RunState
from isda_bench.training.step import Step, TrainingModule


def fit(
    module: TrainingModule,
    schedule: TrainingRecipe,
    batches: Loader,
    evaluation: EvaluationPlan,
    directory: RunDirectory,
    display: Display,
    logger: Logger,
    checkpoints: Checkpoint,
    choice: OptimizerChoice = NESTEROV,
) -> list[Metrics]:
    """Trains to the schedule's last epoch, from the directory's newest checkpoint if it has one.

    Args:
        module: model and loss, on the device of `batches`.
        schedule: epochs and the optimizer's settings.
        batches: the training set.
        evaluation: the images on which the error is measured, and how often.
        directory: stores metrics and checkpoints.
        display: shows the progress.
        logger: receives each epoch's metrics.
        checkpoints: how often the state is saved; the last epoch's state always is.
        choice: the optimizer's class and its own settings.

    Returns:
        The metrics of every epoch.

    Raises:
        NonFiniteLoss: naming epoch and step; the earlier checkpoints stay.
        NonFiniteState: naming the parameter or buffer that became NaN or infinite.
        UserError: a file cannot be written.
    """
    optimizer = make_optimizer(module, schedule, choice)
    state = RunState(module, optimizer, batches, directory, checkpoints.every_minutes)
    metrics = state.resume(schedule.epochs)
    step = make_step(module, optimizer, batches.sizes)
    logger.resume(metrics)
    warn_of_another_execution(directory, step.execution)
    display.begin(len(metrics), batches.step)
    for epoch in range(len(metrics) + 1, schedule.epochs + 1):
        start = time.perf_counter() - state.seconds_before
        row: Metrics = {"epoch": epoch, "learning_rate": learning_rate(schedule, epoch)}
        set_learning_rate(optimizer, rate_factor(schedule, epoch))
        factors = step_factors(schedule, epoch, len(batches))
        row |= train_epoch(step, batches, epoch, schedule.epochs, display, state, factors)
        if evaluation.is_due(epoch, schedule.epochs):
            measured = evaluation.measure(module, display.evaluation, last=epoch == schedule.epochs)
            keep_confusion(directory, measured.pop(f"{evaluation.split}_{CONFUSION}", None))
            row |= measured
        row["seconds"] = time.perf_counter() - start
        metrics.append(row)
        directory.append(row)
        record_execution(directory, step.execution)
        logger.log(row)
        display.epoch(row)
        if epoch % checkpoints.every == 0 or epoch == schedule.epochs:
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
    """One pass over the training set; the sums of its metrics stay on the device until its end.

    The training error of mixed batches counts against their dominant classes, not against real images.

    Args:
        step: makes a training step.
        batches: the training set.
        epoch: from 1.
        epochs: of the run.
        display: shows each step.
        state: saves within the epoch.
        factors: each step's learning rate as a multiple of the first epoch's; empty: one rate in the epoch.

    Raises:
        NonFiniteLoss: on the CPU before the update; elsewhere at the end of the epoch, in which no update was
            made from that step on.
    """
    step.module.train()
    device = batches.device
    sums, seconds_before = state.pop_epoch_progress()
    losses = torch.zeros(len(batches), device=device)
    start = time.perf_counter() - seconds_before
    progresses = torch.tensor(
        progress_of_steps(epoch, epochs, len(batches)), dtype=torch.float64, device=device
    )
    for i, (images, targets, *mixed) in enumerate(batches, start=batches.step):
        if factors:
            set_learning_rate(step.optimizer, factors[i])
        loss, logits = step(images, targets, progresses[i], *mixed)
        if device.type == "cpu":
            check_finite(loss, epoch, i)
        sums += sums_of_batch(loss, logits, dominant(targets, *mixed))
        losses[i] = loss
        display.step(len(targets))
        if state.due():
            check_finite(losses, epoch)
            state.save_within(EpochProgress(sums, time.perf_counter() - start))
    check_finite(losses, epoch)
    return _means_of_epoch(sums, start)


def _means_of_epoch(sums: Tensor, start: float) -> Metrics:
    """The metrics of an epoch that began at the time `start`, from `sums_of_batch` over its batches."""
    loss_sum, errors, samples = sum_over_ranks(sums).tolist()
    return {
        "train_loss": loss_sum / samples,
        "train_error": 100 * errors / samples,
        "images_per_second": samples / (time.perf_counter() - start),
    }


def sums_of_batch(loss: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
    """Sums over the images of a batch, (3,): of their losses, of the errors, of the images."""
    n = torch.full_like(loss, len(targets))
    return torch.stack([loss * n, (logits.argmax(1) != targets).sum(), n])


def check_finite(losses: Tensor, epoch: int, first_step: int = 0) -> None:
    """Raises NonFiniteLoss at the first loss that is not finite, counted from `first_step`."""
    for step, loss in enumerate(losses.flatten().tolist(), start=first_step):
        if not math.isfinite(loss):
            raise NonFiniteLoss(
                f"the loss is {loss} in epoch {epoch}, step {step + 1}: stopped there; "
                f"the earlier checkpoints are kept"
            )
