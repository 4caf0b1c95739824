"""Composes configurations outside hydra.main, and finds what is wrong with a command line before it."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from isda_bench.config import CONF, RunConfig, did_you_mean
from isda_bench.errors import ConfigError

METHOD_SETS = ("loss", "generator")


def run_config(composed: DictConfig, choices: dict[str, Any]) -> RunConfig:
    """The plain configuration of a composed one.

    Args:
        composed: without Hydra's own node.
        choices: chosen name of each group.

    Raises:
        ConfigError: an interpolation does not resolve.
    """
    names = {group: str(name) for group, name in choices.items() if name and not group.startswith("hydra")}
    try:
        config = OmegaConf.to_container(composed, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError([str(error).splitlines()[0]]) from error
    assert isinstance(config, dict)
    return RunConfig({str(key): value for key, value in config.items()}, names)


def compose_run(overrides: list[str]) -> RunConfig:
    """The configuration of one run, as the command line `overrides` would give it.

    Raises:
        ConfigError: it does not compose.
    """
    with _hydra(CONF):
        return _run_config(_compose(overrides))


def cells(overrides: list[str]) -> list[RunConfig]:
    """The configurations of all runs of a grid, as `python train.py -m overrides` would run them.

    Raises:
        ConfigError: one of them does not compose.
    """
    with _hydra(CONF):
        composed = _compose([override for override in _parse(overrides, []) if not _is_sweep(override)])
        grid = [f"{key}={value}" for key, value in composed.hydra.sweeper.params.items()] + overrides
        batches = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(grid), None)
        return [_run_config(_compose(list(job))) for job in chain.from_iterable(batches)]


def command_line_problems(overrides: list[str], multirun: bool, conf: Path = CONF) -> list[str]:
    """What is wrong with the overrides of a command line, all at once; what is right is checked further.

    Args:
        overrides: `key=value` arguments as typed.
        multirun: whether they describe a grid: its jobs check their values themselves.
        conf: the configuration directory.
    """
    problems: list[str] = []
    parsed = _parse(overrides, problems)
    ours = [override for override in parsed if not override.key_or_group.startswith("hydra")]
    with _hydra(conf):
        problems += chain.from_iterable(_group_problems(override, conf) for override in ours)
        problems += _conflicts(ours)
        groups = [o for o in ours if _is_group(o, conf) and not _group_problems(o, conf)]
        values = [o for o in ours if not _is_group(o, conf)]
        try:
            keys = _key_sets(groups)
        except ConfigError as error:
            return problems + error.problems
        known = []
        for override in values:
            found = _key_problems(override, keys)
            problems += found
            known += [] if found or _is_sweep(override) or _changes_keys(override) else [override]
        if not multirun and not any(map(_is_sweep, groups)):
            problems += _value_problems([*groups, *known])
    return problems


def _parse(overrides: list[str], problems: list[str]) -> list[Any]:
    """The overrides that can be read; the others become problems."""
    parser = OverridesParser.create()
    parsed = []
    for text in overrides:
        try:
            parsed += parser.parse_overrides([text])
        except HydraException:
            problems.append(f"{text}: cannot be read; should be key=value (quote special characters)")
    return parsed


def _group_problems(override: Override, conf: Path) -> list[str]:
    key = override.key_or_group
    if _changes_keys(override):
        return [f"{override.input_line}: only keys that the configuration has can be set, as key=value"]
    if not _is_group(override, conf):
        return []
    choices = sorted(path.stem for path in (conf / key).glob("*.yaml"))
    values = [str(value) for value in _values(override) if value is not None]
    problems = [
        f"{key}={value}: no such {key}{did_you_mean(value, choices)}"
        for value in values
        if value not in choices
    ]
    if key == "experiment" and len(values) > 1:
        problems.append(f"{override.input_line}: one experiment at a time")
    return problems


def _conflicts(overrides: list[Override]) -> list[str]:
    chosen = {override.key_or_group for override in overrides}
    both = [key for key in METHOD_SETS if key in chosen and "method" in chosen]
    return [f"method: sets {key} too; give method or {key}, not both" for key in both]


def _key_sets(groups: list[Override]) -> list[tuple[str, set[str]]]:
    """The keys of the configuration under each choice of the grid, one group varied at a time."""
    first = [f"{o.key_or_group}={_first(o)}" for o in groups]
    variants = [(" ".join(first), first)]
    for i, override in enumerate(groups):
        for value in list(_values(override))[1:]:
            choice = f"{override.key_or_group}={value}"
            variants.append((choice, [*first[:i], choice, *first[i + 1 :]]))
    return [(label, _keys(_compose(variant))) for label, variant in variants]


def _key_problems(override: Override, key_sets: list[tuple[str, set[str]]]) -> list[str]:
    if _changes_keys(override):
        return []  # told already
    key = override.key_or_group
    for label, keys in key_sets:
        if key not in keys:
            under = f" with {label}" if len(key_sets) > 1 else ""
            return [f"{key}: no such key{under}{_near(key, keys)}"]
    return []


def _near(key: str, keys: set[str]) -> str:
    """A key of the same section is the likelier one."""
    section = key.rpartition(".")[0]
    siblings = sorted(k for k in keys if k.rpartition(".")[0] == section and not k.endswith("_target_"))
    return did_you_mean(key, siblings if section and siblings else sorted(keys))


def _value_problems(overrides: list[Override]) -> list[str]:
    from isda_bench.config import check

    try:
        check(_run_config(_compose(overrides)).config)
    except ConfigError as error:
        return error.problems
    return []


def _is_group(override: Override, conf: Path) -> bool:
    return (conf / override.key_or_group).is_dir()


def _changes_keys(override: Override) -> bool:
    return override.is_add() or override.is_force_add() or override.is_delete()


def _is_sweep(override: Override) -> bool:
    return override.is_sweep_override()


def _values(override: Override) -> list[Any]:
    if override.is_sweep_override():
        return list(override.sweep_string_iterator())
    return [override.value()]


def _first(override: Override) -> str:
    value = _values(override)[0]
    return "null" if value is None else str(value)


def _keys(composed: DictConfig) -> set[str]:
    def walk(node: Any, prefix: str) -> Iterator[str]:
        for name, value in node.items():
            yield f"{prefix}{name}"
            if isinstance(value, dict):
                yield from walk(value, f"{prefix}{name}.")

    container = OmegaConf.to_container(_without_hydra(composed), resolve=False)
    return set(walk(container, ""))


def _compose(overrides: list[Any]) -> DictConfig:
    lines = [o if isinstance(o, str) else str(o.input_line) for o in overrides]
    try:
        return compose("config", lines, return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError([str(error).splitlines()[0]]) from error


def _run_config(composed: DictConfig) -> RunConfig:
    choices = OmegaConf.to_container(composed.hydra.runtime.choices)
    assert isinstance(choices, dict)
    return run_config(_without_hydra(composed), {str(k): v for k, v in choices.items()})


def _without_hydra(composed: DictConfig) -> DictConfig:
    return OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])


@contextmanager
def _hydra(conf: Path) -> Iterator[None]:
    """Hydra's global state, put back afterwards."""
    if GlobalHydra.instance().is_initialized():
        yield
        return
    with initialize_config_dir(str(conf), version_base="1.3"):
        yield
