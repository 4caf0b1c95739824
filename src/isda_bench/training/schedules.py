"""Pure functions of time: the learning rate of an epoch, the progress at a step (supplement B, Table 1)."""

import math

from isda_bench.config.settings import TrainingRecipe


def rate_factor(schedule: TrainingRecipe, epoch: int) -> float:
    """The learning rate of `epoch` (1..T) as a part of the first one.

    With milestones: factor ** (milestones reached; epoch 79 still has the old rate, epoch 80 the new one).
    Cosine: (1 + cos(pi n / T)) / 2, where n counts epochs from `cosine_from`: from 1 the last epoch's rate is
    0, from 0 the first epoch has the full rate.
    """
    if schedule.milestones is None or schedule.factor is None:
        n = epoch - 1 + schedule.cosine_from
        return (1 + math.cos(math.pi * n / schedule.epochs)) / 2
    return schedule.factor ** sum(epoch >= milestone for milestone in schedule.milestones)


def unreached_milestones(schedule: TrainingRecipe) -> list[int]:
    """Milestones after the last epoch, as when only the number of epochs was overridden."""
    return [milestone for milestone in schedule.milestones or [] if milestone > schedule.epochs]


def learning_rate(schedule: TrainingRecipe, epoch: int) -> float:
    """The learning rate of `epoch`, counted from 1."""
    return schedule.learning_rate * rate_factor(schedule, epoch)


def progress(step: int, total_steps: int) -> float:
    """The part of the training that lies behind `step`, counted from 0: 0 at the first step."""
    return step / total_steps
