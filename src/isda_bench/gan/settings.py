"""The keys of a generator's training, with their types."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from isda_bench.settings import Component, Every, Section


class GeneratorSchedule(Section):
    """How long a generator is trained.

    Attributes:
        epochs: of `steps` steps each.
        steps: of the generator in an epoch.
        batch_size: real images in a critic's step; of each class where each has a generator of its own.
        average: decay of the running mean of the generator's weights, which is what is kept; 0: the newest.
    """

    epochs: PositiveInt
    steps: PositiveInt
    batch_size: Annotated[int, Field(gt=1)]  # BatchNorm needs two
    average: Annotated[float, Field(ge=0, lt=1)]


class Samples(Every):
    """Grids of samples.

    Attributes:
        per_class: images of each class.
    """

    per_class: PositiveInt


class GeneratorSettings(Section):
    """The whole configuration, as conf_generator/config.yaml describes it."""

    seed: Annotated[int, Field(ge=0, lt=2**63)]
    device: str
    precision: Literal["fp32", "tf32"]
    runs_dir: Annotated[str, Field(min_length=1)]
    schedule: GeneratorSchedule
    samples: Samples
    classifier: str | None
    checkpoint: Every
    dataset: Component
    generator: Component
    logger: Component
