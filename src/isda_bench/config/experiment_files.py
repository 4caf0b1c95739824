"""The experiments' files: which belong to one table, and their titles.

`<table>_<part>.yaml` is a part of the table whose experiment is `<table>.yaml`, unless a line of its head
begins with `OWN_TABLE`: then it is a table, and files whose names begin with its own are its parts.
"""

from functools import cache

from isda_bench.config.problems import did_you_mean
from isda_bench.config.run_config import CONF
from isda_bench.errors import ConfigError

OWN_TABLE = "A table of its own."


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
    around = [name for name in names if experiment == name or experiment.startswith(f"{name}_")]
    own = [name for name in around if any(line.startswith(OWN_TABLE) for line in _head(name))]
    return max(own, key=len) if own else min(around, key=len)


def parts(experiment: str) -> list[str]:
    """The experiments that make up what `experiment` names: a table has all of its parts.

    Raises:
        ConfigError: there is no such experiment.
    """
    table = table_of(experiment)
    longer = (name for name in experiment_names() if name.startswith(f"{experiment}_"))
    return [experiment, *(name for name in longer if table_of(name) == table)]


def title(experiment: str) -> str:
    """The first line of the head of its file."""
    return next(iter(_head(experiment)), experiment)


@cache
def _head(experiment: str) -> tuple[str, ...]:
    """The comments of its file, without '#' and Hydra's own."""
    lines = (CONF / "experiment" / f"{experiment}.yaml").read_text(encoding="utf-8").splitlines()
    heads = [line.removeprefix("#").strip() for line in lines if line.startswith("#")]
    return tuple(head for head in heads if not head.startswith("@package"))
