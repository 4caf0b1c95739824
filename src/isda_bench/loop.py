"""The training loop: it names no technique."""

import math
import time
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

from isda_bench import checkpoint
from isda_bench.data.base import Split
from isda_bench.data.loader import Loader
from isda_bench.display import Display
from isda_bench.errors import NonFiniteLoss
from isda_bench.evaluate import evaluate
from isda_bench.loggers import Logger
from isda_bench.record import LAST_EPOCHS, Metrics, RunDirectory
from isda_bench.schedules import Schedule, learning_rate, progress, rate_factor
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

    Returns:
        The metrics of every epoch.

    Raises:
        NonFiniteLoss: naming epoch and step; the checkpoints before it stay.
        NonFiniteState: naming what else became NaN or infinite, likewise.
        UserError: something cannot be written.
    """
    optimizer = make_optimizer(module, schedule)
    metrics = _resume(module, optimizer, directory)
    display.begin(len(metrics))
    for epoch in range(len(metrics) + 1, schedule.epochs + 1):
        start = time.perf_counter()
        _set_learning_rate(optimizer, rate_factor(schedule, epoch))
        row: Metrics = {"epoch": epoch, "learning_rate": learning_rate(schedule, epoch)}
        row |= train_epoch(module, optimizer, batches, epoch, schedule.epochs, display)
        if epoch % evaluate_every == 0 or epoch > schedule.epochs - LAST_EPOCHS:
            measured = evaluate(module.model, evaluation, module.bf16)
            row |= {f"{split}_{name}": value for name, value in measured.items()}
        row["seconds"] = time.perf_counter() - start
        metrics.append(row)
        directory.append(row)
        logger.log(row)
        display.epoch(row)
        if epoch % checkpoint_every == 0 or epoch == schedule.epochs:
            checkpoint.save(directory.path, epoch, _state(module, optimizer, metrics))
    return metrics


def train_epoch(
    module: TrainingModule, optimizer: Optimizer, batches: Loader, epoch: int, epochs: int, display: Display
) -> Metrics:
    """One pass over the training set; what is measured stays on the device until its end.

    Raises:
        NonFiniteLoss: on the CPU before the step that would take it in, elsewhere at the end of the epoch.
    """
    module.train()
    device = batches.targets.device
    totals = torch.zeros(2, dtype=torch.float64, device=device)
    losses = torch.empty(len(batches), device=device)
    first_step, total_steps = (epoch - 1) * len(batches), epochs * len(batches)
    start = time.perf_counter()
    for step, (images, targets) in enumerate(batches):
        loss, logits = module(images, targets, progress(first_step + step, total_steps))
        if device.type == "cpu":
            _check_finite(loss.detach()[None], epoch, step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            totals += torch.stack([loss * len(targets), (logits.argmax(1) != targets).sum()])
            losses[step] = loss
        display.step()
    if device.type != "cpu":
        _check_finite(losses, epoch, 0)
    loss_sum, errors = totals.tolist()
    return {
        "train_loss": loss_sum / batches.samples,
        "train_error": 100 * errors / batches.samples,
        "images_per_second": batches.samples / (time.perf_counter() - start),
    }


def make_optimizer(module: TrainingModule, schedule: Schedule) -> SGD:
    """SGD with Nesterov momentum over the model, and the groups that the loss asks for."""
    optimizer = SGD(
        [{"params": list(module.model.parameters())}, *module.loss.parameter_groups()],
        lr=schedule.learning_rate,
        momentum=schedule.momentum,
        weight_decay=schedule.weight_decay,
        nesterov=schedule.momentum > 0,
    )
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


def _set_learning_rate(optimizer: Optimizer, factor: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor


def _check_finite(losses: Tensor, epoch: int, first_step: int) -> None:
    for step, loss in enumerate(losses.tolist(), start=first_step):
        if not math.isfinite(loss):
            raise NonFiniteLoss(
                f"the loss is {loss} in epoch {epoch}, step {step + 1}: stopped there; "
                f"the checkpoints of the epochs before are kept"
            )


def _state(module: TrainingModule, optimizer: Optimizer, metrics: list[Metrics]) -> dict[str, Any]:
    return {
        "model": module.model.state_dict(),
        "loss": module.loss.state_dict(),
        "optimizer": optimizer.state_dict(),
        "generators": checkpoint.random_states(),
        "metrics": metrics,
    }


def _resume(module: TrainingModule, optimizer: Optimizer, directory: RunDirectory) -> list[Metrics]:
    """Puts everything back as the newest checkpoint has it; returns the metrics up to there."""
    state = checkpoint.load_newest(directory.path)
    if state is None:
        directory.rewrite([])
        return []
    module.model.load_state_dict(state["model"])
    module.loss.load_state_dict(state["loss"])
    optimizer.load_state_dict(state["optimizer"])
    checkpoint.restore_random_states(state["generators"])
    metrics: list[Metrics] = state["metrics"]
    directory.rewrite(metrics)
    return metrics
