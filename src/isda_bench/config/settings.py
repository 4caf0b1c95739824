"""The configuration's keys with their types."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)
from pydantic_core import PydanticCustomError

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
        momentum: of an optimizer that takes one.
        weight_decay: on every parameter, BatchNorm and biases included, as the reference code does.
        milestones: epochs, counted from 1, that are the first with a lower rate; null for the cosine.
        factor: by which the rate is multiplied there; null for the cosine.
        cosine_from: the number of the first epoch in the cosine's formula, 1 or 0.
        warmup_epochs: epochs in which the rate rises linearly to the first one; the cosine begins after them.
        floor: the cosine's lowest rate, as a part of the first one.
        per_step: whether warm-up and cosine change the rate at each step, and not at each epoch.
    """

    epochs: PositiveInt
    batch_size: PositiveInt
    learning_rate: PositiveFloat
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    milestones: list[PositiveInt] | None
    factor: Annotated[float, Field(gt=0, le=1)] | None
    cosine_from: Literal[0, 1] = 1
    warmup_epochs: NonNegativeInt = 0
    floor: Annotated[float, Field(ge=0, lt=1)] = 0.0
    per_step: bool = False

    @model_validator(mode="after")
    def _milestones_and_factor(self) -> Self:
        if (self.milestones is None) != (self.factor is None):
            raise ValueError("milestones and factor belong together: both, or null and null for the cosine")
        if self.milestones is not None and sorted(set(self.milestones)) != self.milestones:
            raise ValueError(f"milestones={self.milestones}: should rise")
        if self.milestones is not None and self.cosine_from != 1:
            raise ValueError(f"cosine_from={self.cosine_from}: is for the cosine alone (milestones null)")
        if self.milestones is not None and self.floor:
            raise ValueError(f"floor={self.floor}: is for the cosine alone (milestones null)")
        if self.warmup_epochs >= self.epochs and self.warmup_epochs:
            raise ValueError(f"warmup_epochs={self.warmup_epochs}: should be fewer than epochs={self.epochs}")
        if self.per_step and self.milestones is not None and not self.warmup_epochs:
            raise ValueError("per_step=true: is for a warm-up or the cosine; milestones are epochs")
        return self


class Every(Section):
    """How often something happens.

    Attributes:
        every: epochs from one time to the next.
    """

    every: PositiveInt


class Evaluation(Every):
    """How often and by which metrics the network is evaluated.

    Attributes:
        every: epochs from one time to the next.
        metrics: functions of a user's own modules, measured beside the usual metrics.
    """

    metrics: list[str] = []


class Checkpoint(Every):
    """How often the state is saved.

    Attributes:
        every: epochs from one time to the next.
        every_minutes: minutes from one checkpoint to the next within an epoch; null: only after epochs.
    """

    every_minutes: PositiveFloat | None = None


class TableSection(Section):
    """The section `table` of an experiment's file; it decides nothing in a run.

    Names are those that the table prints without labels ('isda + dropout'), or choices of `method=`.

    Attributes:
        title: what a reader sees over it.
        baseline: the method that each other one is compared with; null: cross-entropy on real images, with
            dropout for the methods that have it.
        also_differ: dotted keys in which a planned method and its baseline may differ besides the method's
            own, such as `schedule.epochs` where generated images make an epoch longer.
        methods: name -> label, in the order of the table's rows.
        networks: name -> label.
        datasets: name -> label.
    """

    title: Annotated[str, Field(min_length=1)]
    baseline: str | None = None
    also_differ: list[str] = []
    methods: dict[str, str] = {}
    networks: dict[str, str] = {}
    datasets: dict[str, str] = {}


def _auto_or_bool(given: Any) -> Any:
    """Refuses other values in one line, where a union would give a line for each of its types."""
    if given == "auto" or isinstance(given, bool):
        return given
    raise PydanticCustomError("auto_or_bool", "should be auto, true or false")


class Settings(Section):
    """The whole configuration, as conf/config.yaml describes it; components check themselves."""

    seed: Annotated[int, Field(ge=0, lt=2**63)]
    device: str
    compile: bool
    capture: Annotated[Literal["auto"] | bool, BeforeValidator(_auto_or_bool)]
    precision: Literal["fp32", "tf32", "bf16"]
    runs_dir: Annotated[str, Field(min_length=1)]
    debug: bool
    plan: bool
    rerun: bool
    evaluate: Evaluation
    checkpoint: Checkpoint
    schedule: TrainingRecipe
    dataset: Component
    model: Component
    loss: Component
    augment: Component
    generator: Component
    mix: Component
    optimizer: Component = {}
    logger: Component
    table: TableSection | None = None


COMPONENTS = [name for name, field in Settings.model_fields.items() if field.annotation == Component]
TASK_COMPONENTS = [name for name in COMPONENTS if name not in ("optimizer", "logger")]
"""The components that say what is trained on what."""
