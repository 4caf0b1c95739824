"""Finds what is wrong with a single override of a command line: its form, and the choice that it makes."""

import math

from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, RangeSweep

from isda_bench.config.override_text import lines_of
from isda_bench.config.problems import did_you_mean
from isda_bench.config.search_path import choices, is_group
from isda_bench.config.several_choices import list_problems, listed

MOST_JOBS = 100_000  # of a grid: Hydra lists them all before the first begins


def override_problems(override: Override) -> list[str]:
    """A line for each problem. Within `hydra_context`."""
    return _form_problems(override) or _choice_problems(override)


def _form_problems(override: Override) -> list[str]:
    line = override.input_line
    if override.is_hydra_override():
        named = "/" not in override.key_or_group or isinstance(override.value(), str | ChoiceSweep)
        return [] if named else [f"{line}: should be the name of a choice"]
    if override.get_key_element() != override.key_or_group:
        return [f"{line}: only keys that the configuration has can be set, as key=value"]
    globbed = isinstance(override.value(), Glob) and not is_group(override.key_or_group)
    if override.is_interval_sweep() or globbed:
        return [f"{line}: a grid takes choice(...) or range(...)"]
    if not 1 <= value_count(override) <= MOST_JOBS:
        return [f"{line}: should have from 1 to {MOST_JOBS:,} values"]
    return []


def value_count(override: Override) -> float:
    """How many values it has."""
    value = override.value()
    if isinstance(value, ChoiceSweep):
        return len(value.list)
    if not isinstance(value, RangeSweep):
        return 1
    assert value.start is not None and value.stop is not None
    values = (value.stop - value.start) / value.step if value.step else math.inf
    return math.ceil(values) if math.isfinite(values) else math.inf


def _choice_problems(override: Override) -> list[str]:
    group = override.key_or_group
    if override.is_hydra_override() or not is_group(group):
        return []
    value, names = override.value(), choices(group)
    if listed(str(override.input_line)):
        return list_problems(str(override.input_line), names)
    values = [line.partition("=")[2] for line in lines_of(override)]
    if not override.is_sweep_override():
        values = ["null" if value is None else str(value)]
    problems = [
        f"{group}={value}: no such {group}{did_you_mean(value, names)}"
        for value in values
        if value not in names
    ]
    if group == "experiment" and len(values) > 1:
        problems.append(f"{override.input_line}: one experiment at a time")
    return problems or ([] if values else [f"{override.input_line}: no such {group}"])
