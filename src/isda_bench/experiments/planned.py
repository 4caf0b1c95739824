"""The cells that an experiment's file plans."""

import re
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from isda_bench.config.folders import config_folders
from isda_bench.config.grids import grid, grid_lines
from isda_bench.config.run_config import RunConfig, flat, identity
from isda_bench.errors import ConfigError
from isda_bench.experiments.coordinates import Coordinates, coordinates


@dataclass(frozen=True)
class PlannedCell:
    """A cell that an experiment plans.

    Attributes:
        config: of its run with the first seed.
        seeds: that it asks for.
        job: the command line that runs it, without the seed.
        note: why it is there, where that is not the experiment's file.
    """

    config: RunConfig
    seeds: tuple[int, ...]
    job: tuple[str, ...]
    note: str = ""

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Dotted key -> value of all that decides its results."""
        return flat(identity(self.config.config))

    @cached_property
    def at(self) -> Coordinates:
        """Its place."""
        return coordinates(self.config.names, self.config.config)


def planned(experiment: str) -> tuple[PlannedCell, ...]:
    """The cells of one experiment's file, in the order of its grid.

    Raises:
        ConfigError: one of them does not compose, or a seed or another setting is wrong.
    """
    return _planned(experiment, *config_folders())


@cache
def _planned(experiment: str, *_folders: Path) -> tuple[PlannedCell, ...]:
    given = [f"experiment={experiment}"]
    try:
        jobs = grid(given, first="seed")
    except ConfigError as error:
        if error.problems != ["dataset.root: not given"]:
            raise
        # Where the data lies is no part of a cell; a configuration without it would not be whole.
        jobs = grid([*given, "dataset.root=data"], first="seed")
    lines = grid_lines(given).get("seed") or [f"seed={jobs[0][1].config['seed']}"]
    wrong = [line for line in lines if not re.fullmatch(r"seed=\d{1,18}", line)]
    problems = [f"{line}: should be a whole number" for line in wrong]
    problems += (problem for _, config in jobs for problem in config.setting_problems())
    if problems:
        raise ConfigError([f"experiment={experiment}: {problem}" for problem in dict.fromkeys(problems)])
    seeds = tuple(int(line.removeprefix("seed=")) for line in lines)
    return tuple(PlannedCell(config, seeds, _without_seed(job)) for job, config in jobs)


def _without_seed(job: list[str]) -> tuple[str, ...]:
    return tuple(line for line in job if not line.startswith("seed="))
