"""Finds all problems of a command line at once, before Hydra sees it."""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep, Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from isda_bench.cli.launchers import launcher_problems
from isda_bench.cli.suggestions import key_suggestion
from isda_bench.config.compose import hydra_context, sweep_of, varied_by, without_hydra
from isda_bench.config.grid_size import MOST_JOBS, counts_of, runs_problem, value_count
from isda_bench.config.grids import Composer
from isda_bench.config.override_text import lines_of, parse
from isda_bench.config.problems import did_you_mean
from isda_bench.config.run_config import RunConfig
from isda_bench.config.search_path import choices, content_of, is_group
from isda_bench.config.several_choices import SEVERAL, listed
from isda_bench.errors import ConfigError
from isda_bench.runtime.ranks import processes

TRIED_JOBS = 30  # of a grid, to see whether a mistake is in all of them
NO_GRID_OF_PROCESSES = (
    "-m: no grid under torchrun: where a job fails on one process alone, the others would wait for it"
    " or be in another job; give torchrun one run at a time"
)
NO_SCHEDULE = ("schedule: not given", "Could not override 'schedule'. No match in the defaults list.")
"""The check's line and Hydra's where the model's file names no schedule."""

ComponentProblems = Callable[[Any], list[str]]
"""Settings of a run -> problems of its components."""


def command_line_problems(
    overrides: list[str],
    component_problems: ComponentProblems | None,
    multirun: bool = False,
    kind: type[RunConfig] = RunConfig,
) -> list[str]:
    """All problems of the overrides of a command line; sound overrides are checked further.

    A wrong value in a grid is reported here if every choice of the others leaves it wrong; else by its jobs.

    Args:
        overrides: `key=value` arguments as typed.
        component_problems: checks the components; None: only the keys are checked, not the values.
        multirun: whether they describe a grid; an experiment can set that, too.
        kind: of the configured runs.
    """
    with hydra_context(kind):
        parsed, problems = parse(overrides)
        found = [(o.key_or_group, line) for o in parsed for line in _override_problems(o)]
        problems += [line for _, line in found]
        times = Counter(override.key_or_group for override in parsed)
        problems += [f"{key}: given {count} times" for key, count in times.items() if count > 1]
        wrong = {key for key, _ in found}
        sound = [override for override in parsed if override.key_or_group not in wrong]
        given = counts_of(sound)
        if many := runs_problem(given):
            return [*problems, many]
        chosen = [o for o in sound if is_group(o.key_or_group) or o.is_hydra_override()]
        composer = Composer(kind)
        try:
            composed = composer.compose(*(lines_of(override)[0] for override in chosen))
            multirun = multirun or composed.hydra.mode == RunMode.MULTIRUN
            if multirun and (many := runs_problem(counts_of(varied_by(composed)) | given)):
                return [*problems, many]
            problems += _conflicts(parsed, composed) + _mode_problems(sound, composed, multirun)
            unknown = _key_problems([o.key_or_group for o in sound if o not in chosen], chosen, composer)
            problems += [line for key, line in unknown.items() if key.partition(".")[0] not in wrong]
            if component_problems:
                known = [override for override in sound if override.key_or_group not in unknown]
                problems += _value_problems(known, composer, component_problems)
        except ConfigError as error:
            problems += error.problems
        return [_no_schedule() if line in NO_SCHEDULE else line for line in problems]


def _no_schedule() -> str:
    """A user's network brings no schedule: then none can be chosen on the command line either."""
    entry = "defaults: [/schedule@_global_.schedule: resnet]"
    names = ", ".join(choices("schedule"))
    return f"schedule: the file of this model names none; add to it: {entry}; there are: {names}"


def _override_problems(override: Override) -> list[str]:
    """Problems of a single override: of its form, or of the choice that it makes. Within `hydra_context`."""
    line, group = str(override.input_line), override.key_or_group
    if override.is_hydra_override():
        named = "/" not in group or isinstance(override.value(), str | ChoiceSweep)
        return [] if named else [f"{line}: should be the name of a choice"]
    if override.get_key_element() != group:
        return [f"{line}: only keys that the configuration has can be set, as key=value"]
    if not 1 <= value_count(override) <= MOST_JOBS:
        return [f"{line}: should have from 1 to {MOST_JOBS:,} values"]
    return _choice_problems(override) if is_group(group) else []


def _choice_problems(override: Override) -> list[str]:
    group, line, value = override.key_or_group, str(override.input_line), override.value()
    names, several = choices(group), listed(line)
    if several is not None:
        names.remove(SEVERAL)
        values = several or ["[]"]
    elif override.is_sweep_override():
        values = [text.partition("=")[2] for text in lines_of(override)]
    else:
        values = ["null" if value is None else str(value)]
    problems = [f"{group}={v}: no such {group}{did_you_mean(v, names)}" for v in values if v not in names]
    if not values:
        problems.append(f"{line}: no such {group}")
    if group == "experiment" and len(values) > 1:
        problems.append(f"{line}: one experiment at a time")
    if several and len(set(several)) < len(several):
        problems.append(f"{line}: names a {group} twice")
    if several and "none" in several and len(several) > 1:
        problems.append(f"{line}: none is for no {group} at all")
    return problems


def _conflicts(overrides: list[Override], composed: DictConfig) -> list[str]:
    """Keys given beside a method that sets them: values; loss and generator if the method is given too."""
    given = {override.key_or_group for override in overrides} | set(sweep_of(composed))
    sets = content_of("method", composed.hydra.runtime.choices.get("method"))
    both = sorted({"loss", "generator"} & given) if "method" in given else []
    both += [key for key in sorted(given) if isinstance(OmegaConf.select(sets, key), str | float | int)]
    return [f"method: sets {key} too; give method or {key}, not both" for key in both]


def _mode_problems(overrides: list[Override], composed: DictConfig, multirun: bool) -> list[str]:
    """Settings that exclude a grid, or a single run."""
    launcher = composed.hydra.runtime.choices["hydra/launcher"]
    problems = [] if launcher == "basic" else launcher_problems(launcher, composed.hydra.launcher)
    if multirun:
        return problems + ([NO_GRID_OF_PROCESSES] if processes() > 1 else [])
    if launcher != "basic":
        problems.append(f"hydra/launcher={launcher}: launches the runs of a grid: needs -m")
    return problems + [f"{o.input_line}: several values need -m" for o in overrides if o.is_sweep_override()]


def _key_problems(given: list[str], chosen: list[Override], composer: Composer) -> dict[str, str]:
    """Key -> problem of each that the configuration does not have under some choice of the grid."""
    problems: dict[str, str] = {}
    for job in _one_at_a_time(chosen) if given else []:
        variant = composer.compose(*job)
        keys = set(_keys(OmegaConf.to_container(without_hydra(variant), resolve=False), ""))
        for key in (key for key in given if key not in keys and key not in problems):
            problems[key] = f"{key}: no such key{key_suggestion(key, keys, variant)}"
    return problems


def _keys(node: Any, prefix: str) -> Iterator[str]:
    """The dotted keys that can be set."""
    for name, value in node.items():
        yield f"{prefix}{name}"
        if isinstance(value, dict):
            yield from _keys(value, f"{prefix}{name}.")


def _value_problems(
    overrides: list[Override], composer: Composer, component_problems: ComponentProblems
) -> list[str]:
    """Problems of the values that all jobs of the grid share."""
    jobs = list(islice(_one_at_a_time(overrides), TRIED_JOBS + 1))
    problems: list[str] = []
    for job in jobs if len(jobs) <= TRIED_JOBS else []:
        try:
            composer.run(job).check(component_problems)
            return []
        except ConfigError as error:
            problems = [line for line in error.problems if line in problems or job is jobs[0]]
    return problems


def _one_at_a_time(overrides: list[Override]) -> Iterator[list[str]]:
    """Jobs of a grid: the first, and those that differ from it in one override."""
    first = [lines_of(override)[0] for override in overrides]
    yield first
    for i, override in enumerate(overrides):
        for line in lines_of(override)[1:]:
            yield [*first[:i], line, *first[i + 1 :]]
