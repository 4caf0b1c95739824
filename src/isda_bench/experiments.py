"""The experiments' files as tables: which belong together, and the cells that they plan.

`<table>_<part>.yaml` is a part of the table whose experiment is `<table>.yaml`: what is no rectangle lies
beside it.
"""

from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from isda_bench.compose import compose_lines, grid, hydra_context, parse, sweep_of, without_hydra
from isda_bench.config import CONF, RunConfig, flat, identity
from isda_bench.coordinates import Coordinates, coordinates
from isda_bench.errors import ConfigError
from isda_bench.settings import did_you_mean


@dataclass(frozen=True)
class Planned:
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


def experiment_names() -> list[str]:
    """Every experiment, parts too."""
    return sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


def table_names() -> list[str]:
    """The experiments that are a table, or its main part."""
    return [name for name in experiment_names() if table_of(name) == name]


def table_of(experiment: str) -> str:
    """The table that the experiment belongs to.

    Raises:
        ConfigError: there is no such experiment.
    """
    names = experiment_names()
    if experiment not in names:
        raise ConfigError([f"experiment={experiment}: no such experiment{did_you_mean(experiment, names)}"])
    return min((name for name in names if experiment.startswith(f"{name}_")), key=len, default=experiment)


def parts(experiment: str) -> list[str]:
    """The experiments that make up what `experiment` names: a table has all of its parts.

    Raises:
        ConfigError: there is no such experiment.
    """
    table_of(experiment)
    return [experiment, *(name for name in experiment_names() if name.startswith(f"{experiment}_"))]


def title(experiment: str) -> str:
    """The first line of the head of its file."""
    lines = _file(experiment).read_text().splitlines()
    heads = [line.removeprefix("#").strip() for line in lines if line.startswith("#")]
    return next((head for head in heads if not head.startswith("@package")), experiment)


@cache
def planned(experiment: str) -> tuple[Planned, ...]:
    """The cells of one experiment's file, in the order of its grid.

    Raises:
        ConfigError: one of them does not compose.
    """
    with hydra_context():
        composed = compose_lines([f"experiment={experiment}"])
        values = str(sweep_of(composed).get("seed", composed.seed))
        seeds = tuple(int(seed) for seed in _choices(f"seed={values}"))
        given = [f"experiment={experiment}", f"seed={seeds[0]}"]
        # Where the data lies is no part of a cell; a configuration without it would not be whole.
        if "dataset.root" in OmegaConf.missing_keys(without_hydra(composed)):
            given.append("dataset.root=data")
        jobs = grid(given)
    return tuple(Planned(config, seeds, _without_seed(job)) for job, config in jobs)


def _choices(line: str) -> list[str]:
    (override,), _ = parse([line])
    if not override.is_sweep_override():
        return [str(override.value())]
    return [str(value) for value in override.sweep_string_iterator()]


def _without_seed(job: list[str]) -> tuple[str, ...]:
    return tuple(line for line in job if not line.startswith("seed="))


def _file(experiment: str) -> Path:
    return CONF / "experiment" / f"{experiment}.yaml"
