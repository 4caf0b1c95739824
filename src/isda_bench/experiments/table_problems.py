"""Finds problems of the table that a command line trains, before anything is trained."""

from collections.abc import Iterable

from isda_bench.config.experiment_files import (
    experiment_names,
    parts,
    published_file,
    table_of,
    table_section,
)
from isda_bench.config.settings import TableSection
from isda_bench.errors import ConfigError
from isda_bench.experiments.methods import Methods
from isda_bench.experiments.planned import planned
from isda_bench.experiments.published_values import PublishedValues


def table_problems(overrides: Iterable[str]) -> list[str]:
    """Problems of the section `table` and of the published values of the chosen experiment.

    Args:
        overrides: `key=value` arguments as typed.
    """
    chosen = [line.partition("=")[2] for line in overrides if line.startswith("experiment=")]
    try:
        for experiment in chosen:
            if experiment in experiment_names():
                _check(table_of(experiment))
    except ConfigError as error:
        return error.problems
    return []


def _check(table: str) -> None:
    section = table_section(table)
    if section == TableSection(title=section.title) and published_file(table) is None:
        return  # names nothing that the runs could lack
    plan = [cell for part in parts(table) for cell in planned(part)]
    PublishedValues(table, plan, Methods(table, plan))
