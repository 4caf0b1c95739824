"""The training loop of the generators: it names no kind."""

import math
import sys
import time
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from isda_bench.config.generator_config import GeneratorSchedule
from isda_bench.data.base import ImageSet
from isda_bench.errors import NonFiniteLoss, UserError
from isda_bench.gan.base import Gan
from isda_bench.gan.ema import ExponentialMovingAverage
from isda_bench.gan.samples import Samples
from isda_bench.monitoring.loggers import Logger
from isda_bench.monitoring.progress import Display
from isda_bench.storage import checkpoint
from isda_bench.storage.checkpoint_content import check_optimizer, check_same_tensors, one_error
from isda_bench.storage.run_directory import RunDirectory
from isda_bench.storage.run_results import Metrics

COLLAPSED = 0.05
"""Spread, relative to that of real images, below which a class counts as collapsed."""


class RealBatches:
    """Real images as critics see them, drawn uniformly with replacement.

    Args:
        images: the training set, uint8; it is moved to `device`.
        batch_size: images a batch; of each class where `groups` is the number of classes.
        groups: G, the networks that stand side by side: 1, or one a class.
        device: where the batches live.

    Raises:
        UserError: one network a class, and a class without images.
    """

    def __init__(self, images: ImageSet, batch_size: int, groups: int, device: torch.device) -> None:
        self.images = images.images.to(device)
        self.targets = images.targets.to(device)
        self.batch_size = batch_size
        self.groups = groups
        counts = torch.bincount(images.targets, minlength=groups)
        if groups > 1 and not counts.all():
            raise UserError(f"dataset: class {int(counts.argmin())} has no images to train its generator on")
        self.counts = counts.to(device) if groups > 1 else torch.tensor([len(images.targets)], device=device)
        self.starts = self.counts.cumsum(0) - self.counts
        self.order = images.targets.argsort(stable=True).to(device)

    def draw(self) -> tuple[Tensor, Tensor]:
        """Images (N, G, channels, H, W) in [-1, 1] and their classes (N,); (N, G) for one network a class."""
        uniform = torch.rand(self.batch_size, self.groups, dtype=torch.float64, device=self.counts.device)
        indices = self.order[self.starts + (uniform * self.counts).long()]
        targets = self.targets[indices]
        return self.images[indices] / 127.5 - 1, targets[:, 0] if self.groups == 1 else targets


def fit(
    gan: Gan,
    average: ExponentialMovingAverage,
    schedule: GeneratorSchedule,
    batches: RealBatches,
    samples: Samples,
    directory: RunDirectory,
    display: Display,
    logger: Logger,
    checkpoint_every: int = 1,
) -> list[Metrics]:
    """Trains to the schedule's last epoch, from the directory's newest checkpoint if it has one.

    Args:
        gan: on the device of `batches`.
        average: of its generator's weights, whose samples are shown.
        schedule: epochs and their steps.
        batches: the training set.
        samples: measures and shows the generator's images after an epoch.
        directory: stores metrics, grids and checkpoints.
        display: shows the progress.
        logger: receives each epoch's metrics.
        checkpoint_every: epochs from one checkpoint to the next; the last epoch always has one.

    Returns:
        The metrics of every epoch.

    Raises:
        NonFiniteLoss: naming epoch and step; the earlier checkpoints stay.
        RunLocked: another process has taken the run over while this one was suspended.
        UserError: a file cannot be written.
    """
    optimizers = gan.optimizers()
    metrics = _resume(gan, average, optimizers, directory)
    logger.resume(metrics)
    display.begin(len(metrics))
    for epoch in range(len(metrics) + 1, schedule.epochs + 1):
        start = time.perf_counter()
        row: Metrics = {"epoch": epoch}
        row |= train_epoch(gan, average, optimizers, batches, schedule.steps, epoch, display)
        row |= _spread(gan, samples, metrics, epoch)
        row["seconds"] = time.perf_counter() - start
        metrics.append(row)
        directory.append(row)
        logger.log(row)
        display.epoch(row)
        if epoch % samples.every == 0 or epoch == schedule.epochs:
            samples.write(average.generator, directory.path, epoch)
        if epoch % checkpoint_every == 0 or epoch == schedule.epochs:
            directory.save(_state(gan, average, optimizers, metrics), epoch)
    return metrics


def train_epoch(
    gan: Gan,
    average: ExponentialMovingAverage,
    optimizers: tuple[Optimizer, Optimizer],
    batches: RealBatches,
    steps: int,
    epoch: int,
    display: Display,
) -> Metrics:
    """Some steps of the generator, each after those of its critic; losses stay on the device until the end.

    Raises:
        NonFiniteLoss: on the CPU before the step that would take it in, elsewhere at the end of the epoch.
    """
    gan.train()
    critic_optimizer, generator_optimizer = optimizers
    losses = torch.zeros(steps, 2, device=batches.counts.device)
    start = time.perf_counter()
    for step in range(steps):
        for _ in range(gan.critic_steps):
            critic_loss = gan.critic_loss(*batches.draw())
            _descend(critic_optimizer, critic_loss, "critic", epoch, step)
            gan.after_critic_step()
            losses[step, 0] += critic_loss.detach().mean() / gan.critic_steps
        generator_loss = gan.generator_loss(batches.batch_size)
        _descend(generator_optimizer, generator_loss, "generator", epoch, step)
        average.update(gan.generator)
        losses[step, 1] = generator_loss.detach().mean()
        display.step()
    for step, (of_critic, of_generator) in enumerate(losses.tolist()):
        _check_finite(of_critic, "critic", epoch, step)
        _check_finite(of_generator, "generator", epoch, step)
    of_critic, of_generator = losses.mean(0).tolist()
    images = steps * gan.critic_steps * batches.batch_size * batches.groups
    return {
        "critic_loss": of_critic,
        "generator_loss": of_generator,
        "images_per_second": images / (time.perf_counter() - start),
    }


def _descend(optimizer: Optimizer, losses: Tensor, whose: str, epoch: int, step: int) -> None:
    """A step on the sum: each of the networks that stand side by side has the gradient of its own loss."""
    loss = losses.sum()
    if loss.device.type == "cpu":
        _check_finite(loss.item(), whose, epoch, step)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def _check_finite(loss: float, whose: str, epoch: int, step: int) -> None:
    if not math.isfinite(loss):
        raise NonFiniteLoss(
            f"the {whose}'s loss is {loss} in epoch {epoch}, step {step + 1}: stopped there; "
            f"the earlier checkpoints are kept"
        )


def _spread(gan: Gan, samples: Samples, metrics: list[Metrics], epoch: int) -> Metrics:
    """Mean and least spread over the classes; warns in the first epoch in which a class has collapsed."""
    spread = samples.spread(gan.generator)
    collapsed = (spread < COLLAPSED).nonzero().flatten().tolist()
    if collapsed and not (metrics and metrics[-1]["least_spread"] < COLLAPSED):
        print(
            f"epoch {epoch}: the generator has collapsed: nearly the same image for every noise "
            f"in {len(collapsed)} of {len(spread)} classes ({', '.join(map(str, collapsed[:10]))})",
            file=sys.stderr,
        )
    return {"spread": spread.mean().item(), "least_spread": spread.min().item()}


def _state(
    gan: Gan,
    average: ExponentialMovingAverage,
    optimizers: tuple[Optimizer, Optimizer],
    metrics: list[Metrics],
) -> dict[str, Any]:
    return {
        "gan": gan.state_dict(),
        "mean": average.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "rng_states": checkpoint.random_states(),
        "metrics": metrics,
    }


def _resume(
    gan: Gan,
    average: ExponentialMovingAverage,
    optimizers: tuple[Optimizer, Optimizer],
    directory: RunDirectory,
) -> list[Metrics]:
    """Restores the newest checkpoint's state; returns the metrics of the epochs before it."""
    state = directory.newest_state()
    if state is None:
        directory.rewrite([])
        return []
    with one_error(directory.path):
        _restore(gan, average, optimizers, state)
    metrics: list[Metrics] = state["metrics"]
    directory.rewrite(metrics)
    return metrics


def _restore(
    gan: Gan,
    average: ExponentialMovingAverage,
    optimizers: tuple[Optimizer, Optimizer],
    state: dict[str, Any],
) -> None:
    """Raises an error of any class where the content is wrong."""
    check_same_tensors(gan.state_dict(), state["gan"], "gan")
    gan.load_state_dict(state["gan"])
    if "mean" in state:
        check_same_tensors(average.state_dict(), state["mean"], "mean")
        average.load_state_dict(state["mean"])
    else:  # of an older version, which kept the newest weights
        average.generator.load_state_dict(gan.generator.state_dict())
    for optimizer, kept in zip(optimizers, state["optimizers"], strict=True):
        check_optimizer(optimizer, kept)
        optimizer.load_state_dict(kept)
    checkpoint.restore_random_states(checkpoint.rng_states(state)[0])
