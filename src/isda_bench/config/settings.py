"""The configuration's keys with their types."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

Component = dict[str, Any]


class Section(BaseModel):
    """Keys that belong together."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class TrainingRecipe(Section):
    """A row of Table 1.

    Attributes:
        epochs: of the whole training, T.
        batch_size: images a step.
        learning_rate: of the first epoch; the schedule lowers it.
        momentum: of SGD.
        weight_decay: on every parameter, BatchNorm and biases included, as the reference code does.
        milestones: epochs, counted from 1, that are the first with a lower rate; null for the cosine.
        factor: by which the rate is multiplied there; null for the cosine.
        cosine_from: the number of the first epoch in the cosine's formula, 1 or 0.
    """

    epochs: PositiveInt
    batch_size: PositiveInt
    learning_rate: PositiveFloat
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    milestones: list[PositiveInt] | None
    factor: Annotated[float, Field(gt=0, le=1)] | None
    cosine_from: Literal[0, 1] = 1

    @model_validator(mode="after")
    def _milestones_and_factor(self) -> Self:
        if (self.milestones is None) != (self.factor is None):
            raise ValueError("milestones and factor belong together: both, or null and null for the cosine")
        if self.milestones is not None and sorted(set(self.milestones)) != self.milestones:
            raise ValueError(f"milestones={self.milestones}: should rise")
        if self.milestones is not None and self.cosine_from != 1:
            raise ValueError(f"cosine_from={self.cosine_from}: is for the cosine alone (milestones null)")
        return self


class OptimizerSettings(Section):
    """SGD's own settings; learning rate, momentum and weight decay are the schedule's.

    Attributes:
        nesterov: Nesterov's momentum; false: plain momentum.
    """

    nesterov: bool


class Every(Section):
    """How often something happens.

    Attributes:
        every: epochs from one time to the next.
    """

    every: PositiveInt


class Checkpoint(Every):
    """When the state is saved.

    Attributes:
        every: epochs from one time to the next.
        every_minutes: from one time to the next within an epoch; null: only after epochs.
    """

    every_minutes: PositiveFloat | None = None


class Settings(Section):
    """The whole configuration, as conf/config.yaml describes it; components check themselves."""

    seed: Annotated[int, Field(ge=0, lt=2**63)]
    device: str
    compile: bool
    capture: Literal["auto"] | bool
    precision: Literal["fp32", "tf32", "bf16"]
    runs_dir: Annotated[str, Field(min_length=1)]
    debug: bool
    plan: bool
    rerun: bool
    evaluate: Every
    checkpoint: Checkpoint
    schedule: TrainingRecipe
    optimizer: OptimizerSettings
    dataset: Component
    model: Component
    loss: Component
    augment: Component
    generator: Component
    logger: Component


COMPONENTS = [name for name, field in Settings.model_fields.items() if field.annotation == Component]
