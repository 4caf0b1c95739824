"""Composes grids: many configurations that have much in common."""

import itertools
import json
import re
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from isda_bench.config.compose import (
    choices_of,
    compose_overrides,
    hydra_context,
    run_config,
    run_config_of,
    sweep_of,
    without_hydra,
)
from isda_bench.config.composition_cache import remembered
from isda_bench.config.folders import config_folders
from isda_bench.config.override_text import lines_of, parse
from isda_bench.config.run_config import RunConfig
from isda_bench.config.search_path import EMPTY, is_group, parsed
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
            sweep = sweep_of(_shared_composer().compose(*fixed))
            varied, _ = parse([f"{key}={value}" for key, value in sweep.items()])
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
            composed = _shared_composer().compose(f"experiment={experiment}")
            varied, _ = parse([f"{key}={value}" for key, value in sweep_of(composed).items() if key == group])
            lines = [line for override in varied for line in lines_of(override)]
            return [line.partition("=")[2] for line in lines] or [str(choices_of(composed)[group])]

    found: list[str] = remembered(["names", experiment, group], RunConfig.conf, composed)
    return found


class Composer:
    """Composes jobs; what several of them choose alike is composed once. Within `hydra_context`.

    Hydra takes some 50 ms for each, and sets plain values last of all: jobs that differ in these alone are
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
        parsed = [override for line in job for override in self.parse(line)]
        chosen, choices = self._chosen(*(str(o.input_line) for o in parsed if not _is_value(o)))
        config = deepcopy(chosen)
        try:
            for override in filter(_is_value, parsed):
                OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
        except OmegaConfBaseException:  # Hydra's error is the one that a user knows
            return run_config_of(compose_overrides(job), self.kind)
        return run_config(config, choices, self.kind)

    def _compose_chosen(self, *lines: str) -> tuple[DictConfig, dict[str, Any]]:
        """The configuration under these choices, and the chosen names: not to be changed.

        A file that has no defaults list is the lowest layer of its section: experiment, method and command
        line come later. Where `layered`, such files are laid below what the others compose to.
        """
        overrides = [override for line in lines for override in self.parse(line)]
        names = {o.key_or_group: str(o.value()) for o in overrides}
        files = {group: _section(group, name) for group, name in names.items() if self.layered}
        plain = {group: content for group, content in files.items() if content is not None}
        empty = {group: f"{group}={EMPTY}" for group in plain}
        composed = self.compose(*(empty.get(o.key_or_group, str(o.input_line)) for o in overrides))
        names = choices_of(composed) | {group: names[group] for group in plain}
        if plain and _chosen_together(names):
            composed, plain = self.compose(*lines), {}
        config = without_hydra(composed)
        for group, content in plain.items():
            config[group] = OmegaConf.merge(content, config.get(group) or {})
        OmegaConf.set_struct(config, True)
        return config, names


def _shared_composer() -> Composer:
    """The composer of all grids over the present folders."""
    return _composer_of(*config_folders(RunConfig.conf))


@cache
def _composer_of(*folders: Path) -> Composer:
    return Composer(lean=True)


def _is_value(override: Override) -> bool:
    """Whether it sets a key that the configuration has, and chooses or adds nothing."""
    changes = override.is_add() or override.is_force_add() or override.is_delete()
    chooses = is_group(override.key_or_group) or override.is_hydra_override()
    return not (changes or chooses or override.package is not None)


def _chosen_together(names: dict[str, Any]) -> bool:
    """Whether the names of several groups choose a file, as in `method/settings: ${method}-${dataset}`."""
    entries: Any = OmegaConf.to_container(parsed(RunConfig.conf / "config.yaml")[1])
    for entry in entries["defaults"]:
        for group, value in entry.items() if isinstance(entry, dict) else ():
            name = re.sub(r"\$\{([\w/]+)\}", lambda match: str(names.get(match[1])), str(value))
            if name != value and (RunConfig.conf / group.split()[-1] / f"{name}.yaml").is_file():
                return True
    return False


def _section(group: str, name: str) -> DictConfig | None:
    """What the chosen file holds; None where that is more, or something else, than its section."""
    path = RunConfig.conf / group / f"{name}.yaml"
    header, content = parsed(path) if path.is_file() else ("", None)
    if not isinstance(content, DictConfig) or "defaults" in content or "@package" in header:
        return None
    return content
