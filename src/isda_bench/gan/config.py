"""The configuration of a generator's training: its check, its name, its place."""

from functools import cached_property
from pathlib import Path
from typing import ClassVar

from isda_bench.config import ADDED_LATER_TO_GENERATORS, CONF, RunConfig, completed
from isda_bench.errors import ConfigError
from isda_bench.gan.settings import GeneratorSettings
from isda_bench.ranks import processes
from isda_bench.settings import problems_of

FOLDER = "generators"
"""Folder in `runs_dir` of the generators' runs: beside the classifiers', which tables are made of."""


class GeneratorConfig(RunConfig):
    """A checked configuration of a generator's training."""

    conf: ClassVar[Path] = CONF.parent / "conf_generator"
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

    def check(self) -> None:
        """Raises ConfigError with all that is wrong with the configuration."""
        problems = problems_of(lambda: GeneratorSettings.model_validate(self.config), "")
        if not problems:
            from isda_bench.gan.build import part_problems  # imports torch: only where the keys are right

            problems = part_problems(self.settings)
        if processes() > 1:
            problems.append("train_generator: one process; start it without torchrun")
        if problems:
            raise ConfigError(problems)
