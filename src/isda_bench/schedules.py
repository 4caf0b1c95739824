"""Pure functions of time: the learning rate of an epoch, the progress at a step (supplement B, Table 1)."""

import math
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator


class Schedule(BaseModel):
    """A row of Table 1.

    Attributes:
        epochs: T.
        batch_size: images a step.
        learning_rate: of the first epoch.
        momentum: of Nesterov's method.
        weight_decay: on every parameter, BatchNorm and biases included, as the reference code does.
        milestones: epochs, counted from 1, that are the first with a lower rate; null for the cosine.
        factor: by which the rate is multiplied there; null for the cosine.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    epochs: PositiveInt
    batch_size: PositiveInt
    learning_rate: PositiveFloat
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    milestones: list[PositiveInt] | None
    factor: Annotated[float, Field(gt=0, le=1)] | None

    @model_validator(mode="after")
    def _milestones_and_factor(self) -> Self:
        if (self.milestones is None) != (self.factor is None):
            raise ValueError("milestones and factor belong together: both, or null and null for the cosine")
        if self.milestones is not None and sorted(set(self.milestones)) != self.milestones:
            raise ValueError(f"milestones={self.milestones}: should rise")
        return self


def rate_factor(schedule: Schedule, epoch: int) -> float:
    """The learning rate of `epoch` (1..T) as a part of the first one.

    With milestones: factor ** (milestones reached; epoch 79 still has the old rate, epoch 80 the new one).
    Cosine: (1 + cos(pi epoch / T)) / 2, so that the last epoch's rate is 0.
    """
    if schedule.milestones is None or schedule.factor is None:
        return (1 + math.cos(math.pi * epoch / schedule.epochs)) / 2
    return schedule.factor ** sum(epoch >= milestone for milestone in schedule.milestones)


def unreached_milestones(schedule: Schedule) -> list[int]:
    """Milestones after the last epoch, as when only the number of epochs was overridden."""
    return [milestone for milestone in schedule.milestones or [] if milestone > schedule.epochs]


def learning_rate(schedule: Schedule, epoch: int) -> float:
    """The learning rate of `epoch`, counted from 1."""
    return schedule.learning_rate * rate_factor(schedule, epoch)


def progress(step: int, total_steps: int) -> float:
    """The part of the training that lies behind `step`, counted from 0: 0 at the first step."""
    return step / total_steps
