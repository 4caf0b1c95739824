"""Naming a table means all of its parts: the command lines that `experiment=<table>` stands for."""

from collections.abc import Iterable
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from isda_bench.config.compose import compose_overrides, hydra_context, sweep_of
from isda_bench.config.experiment_files import experiment_names, parts
from isda_bench.config.grids import grid_runs
from isda_bench.config.override_text import parse
from isda_bench.config.run_config import RunConfig
from isda_bench.errors import ConfigError

Values = dict[str, str]
"""Values as typed, by what they mean (0.5 and 0.50 are one)."""


def part_lines(overrides: list[str]) -> list[list[str]]:
    """The command lines that a command line stands for: one for each part of the table, to run in turn.

    The other overrides narrow the table: a part runs with those of the values that it has itself, and is left
    out where it has none of them. A value that no part has (another network, fewer epochs) goes to all parts
    that have the key. `part=<name>` leaves all parts but one out.

    Args:
        overrides: `key=value`.

    Raises:
        ConfigError: no run of the table has all that is given, or it has no such part.
    """
    asked = [line.partition("=")[2] for line in overrides if line.startswith("part=")]
    if asked:
        lines = part_lines([line for line in overrides if not line.startswith("part=")])
        kept = [line for line in lines if f"experiment={asked[-1]}" in line]
        if not kept:
            raise ConfigError([f"part={asked[-1]}: no such part; there are: {', '.join(_named(lines))}"])
        return kept
    named = [line.partition("=")[2] for line in overrides if line.startswith("experiment=")]
    if len(named) != 1 or named[0] not in experiment_names() or len(parts(named[0])) == 1:
        return [overrides]
    with hydra_context():
        parsed, problems = parse(overrides)
        if problems:  # the check of the command line reports them
            return [overrides]
        given = [o for o in parsed if not o.is_hydra_override() and o.key_or_group != "experiment"]
        offers = {part: _offer(part, [o.key_or_group for o in given]) for part in parts(named[0])}
    narrowed = {part: _narrowed(given, offers, part) for part in offers}
    others = [str(o.input_line) for o in parsed if o.is_hydra_override()]
    lines = [[f"experiment={part}", *line, *others] for part, line in narrowed.items() if line is not None]
    if not lines:
        raise ConfigError(
            [f"experiment={named[0]}: has no run with {' '.join(str(o.input_line) for o in given)}"]
        )
    return lines


def _named(lines: list[list[str]]) -> list[str]:
    """The experiment of each command line."""
    return [text.partition("=")[2] for line in lines for text in line if text.startswith("experiment=")]


def table_runs(overrides: list[str]) -> list[RunConfig]:
    """The configurations of all runs that a command line stands for, each once.

    Raises:
        ConfigError: one of them does not compose.
    """
    runs = [config for line in part_lines(overrides) for config in grid_runs(line)]
    return list({config.run_id: config for config in runs}.values())


def _offer(part: str, keys: Iterable[str]) -> dict[str, Values]:
    """Key -> the values that a part has by itself; without the keys that it lacks."""
    composed = compose_overrides([f"experiment={part}"])
    sweep = sweep_of(composed)
    return {key: values for key in keys if (values := _own_values(composed, sweep, key))}


def _own_values(composed: DictConfig, sweep: dict[str, Any], key: str) -> Values:
    if key in sweep:
        (override,), _ = parse([f"{key}={sweep[key]}"])
        return _values(override)
    chosen = composed.hydra.runtime.choices.get(key)
    value = chosen if chosen is not None else OmegaConf.select(composed, key, default="")
    return {_meaning(str(value)): str(value)} if value != "" else {}


def _narrowed(given: list[Override], offers: dict[str, dict[str, Values]], part: str) -> list[str] | None:
    """The overrides for a part; None where it is left out."""
    lines = []
    for override in given:
        key, values = override.key_or_group, _values(override)
        known = {meaning for offer in offers.values() for meaning in offer.get(key, {})}
        has_key = [offer for offer in offers.values() if key in offer]
        kept = [
            text
            for meaning, text in values.items()
            if meaning in offers[part].get(key, {}) or meaning not in known
        ]
        if not kept or (has_key and key not in offers[part]):
            return None
        whole = len(kept) == len(values)
        lines.append(str(override.input_line) if whole else f"{key}={','.join(kept)}")
    return lines


def _values(override: Override) -> Values:
    texts = (
        list(override.sweep_string_iterator())
        if override.is_sweep_override()
        else [str(override.input_line).partition("=")[2]]
    )
    return {_meaning(text): text for text in texts}


def _meaning(text: str) -> str:
    try:
        return repr(float(text))
    except ValueError:
        return text.strip("'\"")
