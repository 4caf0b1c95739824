"""Finds what is wrong with a command line, all at once, before Hydra sees it."""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from shutil import which
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, RangeSweep
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from isda_bench.config.compose import Composer, hydra_context, parse, sweep_of, without_hydra
from isda_bench.config.problems import did_you_mean
from isda_bench.config.run_config import RunConfig
from isda_bench.config.several_choices import list_problems, listed
from isda_bench.errors import ConfigError
from isda_bench.runtime.ranks import processes

METHOD_SETS = ("loss", "generator")
TRIED_JOBS = 30  # of a grid, to see whether a mistake is in all of them
MOST_JOBS = 100_000  # of a grid: Hydra lists them all before the first begins


def command_line_problems(
    overrides: list[str],
    component_problems: Callable[[Any], list[str]],
    multirun: bool = False,
    check_values: bool = True,
    kind: type[RunConfig] = RunConfig,
) -> list[str]:
    """What is wrong with the overrides of a command line; what is right is checked further.

    In a grid a wrong value is told here only if no choice of the others mends it; else its jobs tell.

    Args:
        overrides: `key=value` arguments as typed.
        component_problems: settings of a run -> what is wrong with its components.
        multirun: whether they describe a grid; an experiment can say so too.
        check_values: whether the values are checked, and not only what they are given to.
        kind: what they configure.
    """
    with hydra_context(kind):
        parsed, problems = parse(overrides)
        wrong = {
            id(o): found
            for o in parsed
            if (found := _form_problems(o, kind.conf) or _choice_problems(o, kind.conf))
        }
        problems += [line for found in wrong.values() for line in found]
        problems += _repetitions(parsed)
        jobs = math.prod(_count(override) for override in parsed)
        if jobs > MOST_JOBS and not wrong:
            many = ", ".join(str(o.key_or_group) for o in parsed if _count(o) > 1)
            return [*problems, f"{many}: a grid of {jobs:,} runs; at most {MOST_JOBS:,}"]
        sound = [override for override in parsed if id(override) not in wrong]
        groups = [o for o in sound if _is_group(o, kind.conf) or o.is_hydra_override()]
        try:
            composer = Composer(kind)
            composed = composer.compose([_lines(override)[0] for override in groups])
            problems += _conflicts(parsed, composed, kind.conf)
            multirun = multirun or composed.hydra.mode == RunMode.MULTIRUN
            problems += _grid_problems(multirun)
            if not multirun:
                problems += [
                    f"{o.input_line}: several values need -m" for o in sound if o.is_sweep_override()
                ]
            problems += _launcher_problems(composed, multirun)
            unknown = _key_problems([o for o in sound if o not in groups], groups, composer)
            unsettled = {override.key_or_group for override in parsed if id(override) in wrong}
            problems += [line for key, line in unknown.items() if key.partition(".")[0] not in unsettled]
            known = [o for o in sound if o.key_or_group not in unknown]
            return problems + (_value_problems(known, composer, component_problems) if check_values else [])
        except ConfigError as error:
            return problems + error.problems


def _grid_problems(multirun: bool) -> list[str]:
    if not multirun or processes() == 1:
        return []
    return [
        f"-m: no grid under torchrun: where a job fails on one of the {processes()} processes alone, the "
        f"others would wait for it or be in another job; give torchrun one run at a time"
    ]


def _form_problems(override: Override, conf: Path) -> list[str]:
    line = override.input_line
    if override.is_hydra_override():
        named = "/" not in override.key_or_group or isinstance(override.value(), str | ChoiceSweep)
        return [] if named else [f"{line}: should be the name of a choice"]
    if override.is_add() or override.is_force_add() or override.is_delete() or override.package is not None:
        return [f"{line}: only keys that the configuration has can be set, as key=value"]
    if override.is_interval_sweep() or (isinstance(override.value(), Glob) and not _is_group(override, conf)):
        return [f"{line}: a grid takes choice(...) or range(...)"]
    if not 1 <= _count(override) <= MOST_JOBS:
        return [f"{line}: should have from 1 to {MOST_JOBS:,} values"]
    return []


def _count(override: Override) -> float:
    """How many values it has."""
    value = override.value()
    if isinstance(value, ChoiceSweep):
        return len(value.list)
    if not isinstance(value, RangeSweep):
        return 1
    assert value.start is not None and value.stop is not None
    values = (value.stop - value.start) / value.step if value.step else math.inf
    return math.ceil(values) if math.isfinite(values) else math.inf


def _choice_problems(override: Override, conf: Path) -> list[str]:
    if not _is_group(override, conf):
        return []
    group = override.key_or_group
    choices = sorted(path.stem for path in (conf / group).glob("*.yaml"))
    if listed(str(override.input_line)):
        return list_problems(str(override.input_line), choices)
    values = _values(override)
    problems = [
        f"{group}={value}: no such {group}{did_you_mean(value, choices)}"
        for value in values
        if value not in choices
    ]
    if group == "experiment" and len(values) > 1:
        problems.append(f"{override.input_line}: one experiment at a time")
    return problems or ([] if values else [f"{override.input_line}: no such {group}"])


def _repetitions(overrides: list[Override]) -> list[str]:
    times = Counter(override.key_or_group for override in overrides)
    return [f"{key}: given {count} times" for key, count in times.items() if count > 1]


def _conflicts(overrides: list[Override], composed: DictConfig, conf: Path) -> list[str]:
    chosen = {override.key_or_group for override in overrides} | set(sweep_of(composed))
    method = composed.hydra.runtime.choices.get("method")
    sets = OmegaConf.load(conf / "method" / f"{method}.yaml") if method else OmegaConf.create()
    both = [key for key in METHOD_SETS if key in chosen and "method" in chosen]
    values = {key: OmegaConf.select(sets, key) for key in chosen}
    both += [key for key, value in values.items() if value is not None and not OmegaConf.is_config(value)]
    return [f"method: sets {key} too; give method or {key}, not both" for key in both]


def _launcher_problems(composed: DictConfig, multirun: bool) -> list[str]:
    name = composed.hydra.runtime.choices["hydra/launcher"]
    if name == "basic":
        return []
    problems = []
    plugin = composed.hydra.launcher._target_.split(".")[1]
    if find_spec("hydra_plugins") is None or find_spec(f"hydra_plugins.{plugin}") is None:
        package = plugin.replace("_", "-")
        problems.append(f"hydra/launcher={name}: not installed; pip install {package} brings it")
    elif name == "submitit_slurm" and which("srun") is None:
        problems.append(f"hydra/launcher={name}: no Slurm on this machine (no srun)")
    if composed.hydra.launcher.get("n_jobs") == 0:
        problems.append("hydra.launcher.n_jobs=0: should be above 0, or -1 for all processors")
    if not multirun:
        problems.append(f"hydra/launcher={name}: launches the runs of a grid: needs -m")
    return problems


def _key_problems(overrides: list[Override], groups: list[Override], composer: Composer) -> dict[str, str]:
    """Key -> problem of each that the configuration does not have under some choice of the grid.

    Args:
        overrides: of keys.
        groups: overrides that choose.
        composer: of the jobs.
    """
    problems: dict[str, str] = {}
    if not overrides:
        return problems
    for job in _one_at_a_time(groups):
        variant = composer.compose(job)
        keys = _keys(variant)
        for key in (override.key_or_group for override in overrides):
            if key not in keys and key not in problems:
                problems[key] = f"{key}: no such key{_hint(key, keys, variant, composer.kind.conf)}"
    return problems


def _hint(key: str, keys: set[str], composed: DictConfig, conf: Path) -> str:
    """What could have been meant: likelier a key of the same section."""
    section, _, name = key.rpartition(".")
    choice = composed.hydra.runtime.choices.get(section)
    with_choice = f" with {section}={choice}" if choice else ""
    others = [path.stem for path in sorted((conf / section).glob("*.yaml")) if name in OmegaConf.load(path)]
    if with_choice and others:
        return f"{with_choice}; there is one with {section}={', '.join(others)}"
    meant = sorted(k for k in keys if not k.endswith("_target_"))
    siblings = [k for k in meant if k.rpartition(".")[0] == section]
    if section in keys:
        return with_choice + (did_you_mean(key, siblings) if siblings else ", nor any other")
    return did_you_mean(key, meant, [k for k in meant if "." not in k])


def _value_problems(
    overrides: list[Override], composer: Composer, component_problems: Callable[[Any], list[str]]
) -> list[str]:
    """What is wrong with the values of a job, if it is wrong in all jobs of the grid."""
    jobs = list(islice(_one_at_a_time(overrides), TRIED_JOBS + 1))
    problems = _problems_of_job(jobs[0], composer, component_problems)
    for job in jobs[1:]:
        if not problems or len(jobs) > TRIED_JOBS:
            return []
        found = _problems_of_job(job, composer, component_problems)
        problems = [line for line in problems if line in found]
    return problems


def _problems_of_job(
    lines: list[str], composer: Composer, component_problems: Callable[[Any], list[str]]
) -> list[str]:
    try:
        composer.run(lines).check(component_problems)
    except ConfigError as error:
        return error.problems
    return []


def _one_at_a_time(overrides: list[Override]) -> Iterator[list[str]]:
    """Jobs of a grid: the first, and those that differ from it in one override."""
    first = [_lines(override)[0] for override in overrides]
    yield first
    for i, override in enumerate(overrides):
        for line in _lines(override)[1:]:
            yield [*first[:i], line, *first[i + 1 :]]


def _lines(override: Override) -> list[str]:
    """The override with each of its values."""
    if not override.is_sweep_override():
        return [str(override.input_line)]
    return [f"{override.key_or_group}={value}" for value in override.sweep_string_iterator()]


def _values(override: Override) -> list[str]:
    """The names chosen from a group."""
    if override.is_sweep_override():
        return [str(value) for value in override.sweep_string_iterator()]
    value = override.value()
    return ["null" if value is None else str(value)]


def _is_group(override: Override, conf: Path) -> bool:
    return not override.is_hydra_override() and override.key_or_group in _groups(conf)


@cache
def _groups(conf: Path) -> frozenset[str]:
    return frozenset(str(path.relative_to(conf)) for path in conf.rglob("*") if path.is_dir())


def _keys(composed: DictConfig) -> set[str]:
    """The dotted keys that can be set."""

    def walk(node: Any, prefix: str) -> Iterator[str]:
        for name, value in node.items():
            yield f"{prefix}{name}"
            if isinstance(value, dict):
                yield from walk(value, f"{prefix}{name}.")

    container = OmegaConf.to_container(without_hydra(composed), resolve=False)
    return set(walk(container, ""))
