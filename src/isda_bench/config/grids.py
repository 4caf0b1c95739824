"""Composes grids: many configurations that have much in common."""

import itertools
import json
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from isda_bench.config.compose import (
    choices_of,
    compose_overrides,
    compose_run,
    hydra_context,
    run_config,
    sweep_of,
    without_hydra,
)
from isda_bench.config.composition_cache import remembered
from isda_bench.config.folders import config_folders
from isda_bench.config.grid_size import counts_of, runs_problem
from isda_bench.config.layers import Chosen, Layers
from isda_bench.config.override_text import lines_of, parse
from isda_bench.config.run_config import RunConfig
from isda_bench.config.search_path import is_group
from isda_bench.errors import ConfigError

HYDRAS_OWN = ("help", "hydra_help", "output", "env", "launcher", "job_logging", "hydra_logging")
"""Groups of Hydra's own that decide nothing in a run's configuration and take a third of the time."""
Job = tuple[list[str], RunConfig]
"""A run's command line and its configuration."""


def grid_runs(overrides: list[str]) -> list[RunConfig]:
    """The configurations of all runs of a grid, as `python train.py -m overrides` would run them.

    Raises:
        ConfigError: one of them does not compose.
    """
    return [config for _, config in grid(overrides)]


def grid(overrides: list[str], first: str = "") -> list[Job]:
    """The runs of a grid of train.py.

    Args:
        overrides: `key=value`; an experiment varies keys of its own.
        first: a key of which the first value alone is taken.

    Raises:
        ConfigError: one of them does not compose.
    """
    lines = grid_lines(overrides)
    chosen = [values[:1] if key == first else values for key, values in lines.items()]

    return composed_jobs([list(job) for job in itertools.product(*chosen)])


def composed_jobs(jobs: list[list[str]]) -> list[Job]:
    """Jobs of train.py with their configurations.

    Raises:
        ConfigError: one of them does not compose.
    """

    def composed() -> list[Any]:
        composer = _shared_composer()
        with hydra_context():
            return [[run.config, run.names] for run in map(composer.run, jobs)]

    found = remembered(["jobs", *(json.dumps(job) for job in jobs)], RunConfig.conf, composed)
    return [(job, RunConfig(config, names)) for job, (config, names) in zip(jobs, found, strict=True)]


def grid_lines(overrides: list[str]) -> dict[str, list[str]]:
    """Key -> the override with each of its values: those that an experiment varies, and those given.

    Raises:
        ConfigError: an override cannot be read, or they do not compose.
    """

    def composed() -> dict[str, list[str]]:
        with hydra_context():
            parsed, problems = parse(overrides)
            if problems:
                raise ConfigError(problems)
            parsed = [override for override in parsed if not override.is_hydra_override()]  # how, not what
            fixed = [str(o.input_line) for o in parsed if not o.is_sweep_override()]
            sweep = _shared_composer().sweep(fixed)
            varied, _ = parse([f"{key}={value}" for key, value in sweep.items()])
            if many := runs_problem(counts_of([*varied, *parsed])):
                raise ConfigError([many])
            return {override.key_or_group: lines_of(override) for override in [*varied, *parsed]}

    found: dict[str, list[str]] = remembered(["lines", *overrides], RunConfig.conf, composed)
    return found


def chosen_names(experiment: str, group: str) -> list[str]:
    """The choices of a group that an experiment makes: one, or those that it varies.

    Raises:
        ConfigError: the experiment does not compose.
    """

    def composed() -> list[str]:
        with hydra_context():
            chosen = _shared_composer().chosen([f"experiment={experiment}"])
            varied, _ = parse([f"{key}={value}" for key, value in chosen.sweep.items() if key == group])
            lines = [line for override in varied for line in lines_of(override)]
            return [line.partition("=")[2] for line in lines] or [str(chosen.names[group])]

    found: list[str] = remembered(["names", experiment, group], RunConfig.conf, composed)
    return found


class Composer:
    """Composes jobs; what several of them choose alike is composed once. Within `hydra_context`.

    Hydra takes some 40 ms for each, and sets plain values last of all: jobs that differ in these alone are
    composed once.

    Args:
        kind: what the jobs configure.
        lean: without what decides nothing in a run's configuration.
    """

    def __init__(self, kind: type[RunConfig] = RunConfig, lean: bool = False) -> None:
        self.kind = kind
        self.always = [f"~hydra/{group}" for group in HYDRAS_OWN] if lean else []
        self.layered = lean and config_folders(kind.conf) == [RunConfig.conf]
        self.parse = cache(lambda line: parse([line])[0])
        self.compose = cache(self._compose)
        self._chosen = cache(self._compose_chosen)
        self._task = cache(self._compose_task)

    def _compose(self, *lines: str) -> DictConfig:
        """As `compose_overrides`, once for the same lines: not to be changed.

        Raises:
            ConfigError: it does not compose.
        """
        return compose_overrides([*lines, *self.always])

    def run(self, job: list[str]) -> RunConfig:
        """The configuration of a job, given as its command line.

        Raises:
            ConfigError: it does not compose.
        """
        chosen = self.chosen(job)
        try:
            config = self._with_values(chosen, job)
        except OmegaConfBaseException:  # Hydra's error is the one that a user knows
            return compose_run(job, self.kind)
        return run_config(config, chosen.names, self.kind)

    def sweep(self, job: list[str]) -> dict[str, Any]:
        """The keys that the configuration of a job varies: key -> values as typed.

        Raises:
            ConfigError: it does not compose.
        """
        chosen = self.chosen(job)
        try:
            self._with_values(chosen, job)
        except OmegaConfBaseException:
            return sweep_of(compose_overrides(job))
        return chosen.sweep

    def chosen(self, job: list[str]) -> Chosen:
        """The configuration of a job before its values are set.

        Raises:
            ConfigError: it does not compose.
        """
        parsed = [override for line in job for override in self.parse(line)]
        return self._chosen(*(str(override.input_line) for override in parsed if not _is_value(override)))

    def _with_values(self, chosen: Chosen, job: list[str]) -> DictConfig:
        config = chosen.config()
        for override in (override for line in job for override in self.parse(line) if _is_value(override)):
            OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
        return config

    def _compose_chosen(self, *lines: str) -> Chosen:
        """The configuration under these choices.

        A file that has no defaults list is the lowest layer of its section, and an experiment's is the
        highest; method and others lie between. Where `layered`, such files are laid around what the others
        compose to.
        """
        choices = [override for line in lines for override in self.parse(line)]
        if self.layered and all(map(_is_choice, choices)):
            with suppress(ConfigError):  # Hydra's error should be about the lines as they were given
                if found := Layers.of(choices).around(self._task):
                    return found
        return self._task(*lines)

    def _compose_task(self, *lines: str) -> Chosen:
        """As `compose`, without Hydra's own node."""
        composed = self.compose(*lines)
        return Chosen.of(without_hydra(composed), choices_of(composed), sweep_of(composed))


def _shared_composer() -> Composer:
    """The composer of all grids over the present folders."""
    return _composer_of(*config_folders(RunConfig.conf))


@cache
def _composer_of(*folders: Path) -> Composer:
    return Composer(lean=True)


def _is_value(override: Override) -> bool:
    """Whether it sets a key that the configuration has, and chooses or adds nothing."""
    return not (_changes(override) or is_group(override.key_or_group) or override.is_hydra_override())


def _is_choice(override: Override) -> bool:
    """Whether it chooses one of a group's files, for the group's own section."""
    chooses = is_group(override.key_or_group) and not override.is_hydra_override()
    return chooses and not _changes(override)


def _changes(override: Override) -> bool:
    """Whether it adds or deletes something, or puts it elsewhere."""
    return (
        override.is_add() or override.is_force_add() or override.is_delete() or override.package is not None
    )
