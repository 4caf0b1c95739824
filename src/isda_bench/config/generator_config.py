"""The configuration of a generator's training: its check, its name, its place."""

from functools import cached_property
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, PositiveInt

from isda_bench.config.options import module_names
from isda_bench.config.problems import problems_of
from isda_bench.config.run_config import ADDED_LATER_TO_GENERATORS, GENERATOR_CONF, RunConfig, completed
from isda_bench.config.settings import Component, Every, Section


class GeneratorSchedule(Section):
    """How long a generator is trained.

    Attributes:
        epochs: of `steps` steps each.
        steps: of the generator in an epoch.
        batch_size: real images in a critic's step; of each class where each has a generator of its own.
        average: decay of the moving average of the weights, which is the stored generator; 0: no average.
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
    allow: Annotated[tuple[str, ...], BeforeValidator(module_names)]
    rerun: bool
    checkpoint: Every
    dataset: Component
    generator: Component
    logger: Component


FOLDER = "generators"
"""Folder in `runs_dir` of the generators' runs: beside the classifiers', which tables are made of."""


class GeneratorConfig(RunConfig):
    """A checked configuration of a generator's training."""

    conf: ClassVar[Path] = GENERATOR_CONF
    titled_by: ClassVar[tuple[str, ...]] = ("dataset", "generator")
    result: ClassVar[str] = "quality"

    @cached_property
    def settings(self) -> GeneratorSettings:  # type: ignore[override]
        """The types of the configuration, which an older version may have written."""
        return GeneratorSettings.model_validate(completed(self.config, ADDED_LATER_TO_GENERATORS))

    @property
    def directory(self) -> Path:
        """The run's directory."""
        return Path(self.settings.runs_dir).expanduser() / FOLDER / self.run_id

    def setting_problems(self) -> list[str]:
        """Problems of the keys outside the components."""
        return problems_of(lambda: GeneratorSettings.model_validate(self.config), "")
