"""The experiments' files: which belong to one table, and their titles."""

from pathlib import Path

from isda_bench.config.problems import did_you_mean
from isda_bench.config.run_config import CONF
from isda_bench.errors import ConfigError


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


def _file(experiment: str) -> Path:
    return CONF / "experiment" / f"{experiment}.yaml"
