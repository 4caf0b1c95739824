"""Pure functions of time: the learning rate of an epoch, the progress at a step (supplement B, Table 1)."""

import math

from isda_bench.config.settings import TrainingRecipe


def rate_factor(schedule: TrainingRecipe, epoch: int, step: int = 0, steps: int = 1) -> float:
    """The learning rate of `epoch` (1..T) as a part of the first one.

    With milestones: factor ** (milestones reached; epoch 79 still has the old rate, epoch 80 the new one).
    Cosine: (1 + cos(pi n / T)) / 2, where n counts epochs from `cosine_from`: from 1 the last epoch's rate is
    0, from 0 the first epoch has the full rate. With a floor f it is f + (1 - f) times that.

    With W warm-up epochs, epoch m <= W has m / W of the rate (Goyal et al. 2017, "Accurate, Large Minibatch
    SGD", section 2.2), and n and T of the cosine count the epochs after them.

    Args:
        schedule: the recipe.
        epoch: from 1.
        step: of the epoch, from 0, where the rate changes at each step.
        steps: in an epoch: n and m then count in parts of 1 / steps.
    """
    end = epoch - 1 + (step + 1) / steps
    warm_up = schedule.warmup_epochs
    rise = min(1.0, end / warm_up) if warm_up else 1.0
    if schedule.milestones is not None and schedule.factor is not None:
        return rise * schedule.factor ** sum(epoch >= milestone for milestone in schedule.milestones)
    n = max(0.0, epoch - 1 + (step + schedule.cosine_from) / steps - warm_up)
    cosine = (1 + math.cos(math.pi * n / max(1, schedule.epochs - warm_up))) / 2
    return rise * (schedule.floor + (1 - schedule.floor) * cosine)


def step_factors(schedule: TrainingRecipe, epoch: int, steps: int) -> list[float]:
    """`rate_factor` of each of an epoch's steps, if they differ; else empty."""
    if not schedule.per_step:
        return []
    return [rate_factor(schedule, epoch, step, steps) for step in range(steps)]


def unreached_milestones(schedule: TrainingRecipe) -> list[int]:
    """Milestones after the last epoch, as when only the number of epochs was overridden."""
    return [milestone for milestone in schedule.milestones or [] if milestone > schedule.epochs]


def learning_rate(schedule: TrainingRecipe, epoch: int) -> float:
    """The learning rate of `epoch`, counted from 1; that of its last step where it changes at each step."""
    return schedule.learning_rate * rate_factor(schedule, epoch)


def progress(step: int, total_steps: int) -> float:
    """The part of the training that lies behind `step`, counted from 0: 0 at the first step."""
    return step / total_steps


def progress_of_steps(epoch: int, epochs: int, steps: int) -> list[float]:
    """`progress` at each of the `steps` of an epoch, counted from 1, of a run of `epochs`."""
    return [progress((epoch - 1) * steps + i, epochs * steps) for i in range(steps)]
