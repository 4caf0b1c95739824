"""The training loop: it names no technique."""

import math
import time

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

from isda_bench.data.base import Split
from isda_bench.data.loader import Loader
from isda_bench.display import Display
from isda_bench.distributed import sum_over_ranks
from isda_bench.errors import NonFiniteLoss
from isda_bench.evaluate import evaluate
from isda_bench.loggers import Logger
from isda_bench.record import LAST_EPOCHS, Metrics, RunDirectory
from isda_bench.run_state import Begun, RunState
from isda_bench.schedules import Schedule, learning_rate, progress, rate_factor
from isda_bench.step import Step, make_step
from isda_bench.training_module import TrainingModule


def fit(
    module: TrainingModule,
    schedule: Schedule,
    batches: Loader,
    evaluation: Loader,
    split: Split,
    directory: RunDirectory,
    display: Display,
    logger: Logger,
    evaluate_every: int = 1,
    checkpoint_every: int = 1,
    checkpoint_minutes: float | None = None,
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
        logger: is told each epoch's metrics.
        evaluate_every: epochs from one evaluation to the next; the last ten epochs are always evaluated.
        checkpoint_every: epochs from one checkpoint to the next; the last epoch always has one.
        checkpoint_minutes: from one checkpoint to the next within an epoch; null: none there.

    Returns:
        The metrics of every epoch.

    Raises:
        NonFiniteLoss: naming epoch and step; the checkpoints before it stay.
        NonFiniteState: naming what else became NaN or infinite, likewise.
        UserError: something cannot be written.
    """
    optimizer = make_optimizer(module, schedule)
    state = RunState(module, optimizer, batches, directory, checkpoint_minutes)
    metrics = state.resume()
    step = make_step(module, optimizer)
    display.begin(len(metrics), batches.step)
    for epoch in range(len(metrics) + 1, schedule.epochs + 1):
        start = time.perf_counter() - state.seconds_before
        set_learning_rate(optimizer, rate_factor(schedule, epoch))
        row: Metrics = {"epoch": epoch, "learning_rate": learning_rate(schedule, epoch)}
        row |= train_epoch(step, batches, epoch, schedule.epochs, display, state)
        if epoch % evaluate_every == 0 or epoch > schedule.epochs - LAST_EPOCHS:
            measured = evaluate(module.model, evaluation, module.bf16)
            row |= {f"{split}_{name}": value for name, value in measured.items()}
        row["seconds"] = time.perf_counter() - start
        metrics.append(row)
        directory.append(row)
        logger.log(row)
        display.epoch(row)
        if epoch % checkpoint_every == 0 or epoch == schedule.epochs:
            state.save()
    return metrics


def train_epoch(
    step: Step, batches: Loader, epoch: int, epochs: int, display: Display, state: RunState
) -> Metrics:
    """One pass over the training set; what is measured stays on the device until its end.

    Raises:
        NonFiniteLoss: on the CPU before the step that would take it in; elsewhere at the end of the epoch, no
            update having been made from that step on.
    """
    step.module.train()
    device = batches.device
    sums, seconds_before = state.take_begun()
    losses = torch.zeros(len(batches), device=device)
    first_step, total_steps = (epoch - 1) * len(batches), epochs * len(batches)
    start = time.perf_counter() - seconds_before
    progresses = torch.tensor(
        [progress(first_step + i, total_steps) for i in range(len(batches))],
        dtype=torch.float64,
        device=device,
    )
    for i, (images, targets) in enumerate(batches, start=batches.step):
        loss, logits = step(images, targets, progresses[i])
        if device.type == "cpu":
            _check_finite(loss[None], epoch, i)
        n = torch.full_like(loss, len(targets))
        sums += torch.stack([loss * n, (logits.argmax(1) != targets).sum(), n])
        losses[i] = loss
        display.step()
        if state.due():
            _check_finite(losses, epoch, 0)
            state.save_within(Begun(sums, time.perf_counter() - start))
    if device.type != "cpu":
        _check_finite(losses, epoch, 0)
    loss_sum, errors, samples = sum_over_ranks(sums).tolist()
    return {
        "train_loss": loss_sum / samples,
        "train_error": 100 * errors / samples,
        "images_per_second": samples / (time.perf_counter() - start),
    }


def make_optimizer(module: TrainingModule, schedule: Schedule) -> SGD:
    """SGD with Nesterov momentum over the model, and the groups that the loss asks for.

    On CUDA it is torch's fused kernel, which makes no update where `found_inf` is not 0 (see `Step`).
    """
    optimizer = SGD(
        [{"params": list(module.model.parameters())}, *module.loss.parameter_groups()],
        lr=schedule.learning_rate,
        momentum=schedule.momentum,
        weight_decay=schedule.weight_decay,
        nesterov=schedule.momentum > 0,
        fused=True if next(module.parameters()).is_cuda else None,
    )
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


def set_learning_rate(optimizer: Optimizer, factor: float) -> None:
    """Makes it `factor` times what each group began with."""
    for group in optimizer.param_groups:
        rate = group["initial_lr"] * factor
        if isinstance(group["lr"], Tensor):  # that captured steps read
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def _check_finite(losses: Tensor, epoch: int, first_step: int) -> None:
    for step, loss in enumerate(losses.tolist(), start=first_step):
        if not math.isfinite(loss):
            raise NonFiniteLoss(
                f"the loss is {loss} in epoch {epoch}, step {step + 1}: stopped there; "
                f"the checkpoints of the epochs before are kept"
            )
