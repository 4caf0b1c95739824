"""Prints a wandb sweep of an experiment's runs, or of a grid's: a YAML file for `wandb sweep`.

isda-bench sweep experiment=demo > sweep.yaml
isda-bench sweep experiment=comparison part=comparison_wgan > sweep.yaml   of one part of a table
isda-bench sweep --config-dir ./conf experiment=mine > sweep.yaml   an experiment of your own folder
isda-bench sweep model=resnet32 loss=cross_entropy,isda seed=0,1,2 > sweep.yaml
wandb sweep sweep.yaml                    prints the sweep's id
wandb agent <entity>/isda_bench/<id>      on each machine: trains runs until all are done

It takes the arguments of `isda-bench train -m` and starts nothing. Agents run train.py from the folder in
which they are started, or the installed command where there is no train.py, and log online.
"""

import sys
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

from isda_bench.cli.command_line_check import command_line_problems
from isda_bench.config.compose import compose_overrides, hydra_context, sweep_of
from isda_bench.config.folders import users_folder
from isda_bench.config.options import split_config_dir
from isda_bench.config.override_text import parse
from isda_bench.config.table_parts import part_lines
from isda_bench.errors import ConfigError

METRIC = "last_10_error"


def sweep(overrides: list[str], train: list[str]) -> dict[str, Any]:
    """The sweep as wandb reads it.

    Args:
        overrides: `key=value` arguments of `train -m`.
        train: how an agent starts a run.

    Raises:
        ConfigError: listing all that is wrong with them.
    """
    line = _single_grid(overrides)
    problems = command_line_problems(line, lambda _: [], multirun=True)
    problems += [f"{o}: an agent trains a run at a time" for o in overrides if o.startswith("hydra")]
    if problems:
        raise ConfigError(problems)
    with hydra_context():
        given, _ = parse(line)
        composed = compose_overrides([str(o.input_line) for o in given if not o.is_sweep_override()])
        varied, _ = parse([f"{key}={value}" for key, value in sweep_of(composed).items()])
        parameters = {override.key_or_group: _parameter(override) for override in [*varied, *given]}
    for name in (o.removeprefix("part=") for o in overrides if o.startswith("part=")):
        parameters["part"] = {"value": name}
    mode = "logger.loggers.wandb.mode" if "loggers" in composed.logger else "logger.mode"
    if mode not in parameters and OmegaConf.select(composed, mode) is not None:
        parameters[mode] = {"value": "online"}
    return {
        "name": composed.hydra.runtime.choices.get("experiment") or "isda_bench",
        "project": composed.logger.get("project", "isda_bench"),
        "program": "train.py",
        "method": "grid",
        "metric": {"name": METRIC, "goal": "minimize"},
        "command": ["${env}", *train, "${args_no_hyphens}"],
        "parameters": parameters,
    }


def _single_grid(overrides: list[str]) -> list[str]:
    """The command line of the requested grid, of a table one part.

    Raises:
        ConfigError: it is several grids: a table has parts, and none is named.
    """
    lines = part_lines(overrides)
    if len(lines) > 1:
        names = [text.partition("=")[2] for line in lines for text in line if text.startswith("experiment=")]
        raise ConfigError(
            [f"a sweep is one grid, and these are several: add part=, one of {', '.join(names)}"]
        )
    return lines[0]


def _parameter(override: Override) -> dict[str, Any]:
    """The values of a key, as typed on a command line."""
    if override.is_sweep_override():
        return {"values": [_number(str(value)) for value in override.sweep_string_iterator()]}
    return {"value": _number(str(override.input_line).partition("=")[2])}


def _number(text: str) -> int | str:
    """Whole numbers as such: wandb orders them."""
    return int(text) if text.isdecimal() and str(int(text)) == text else text


def command() -> None:
    """Prints the sweep of the command line's grid."""
    in_checkout = Path("train.py").is_file()
    train = ["${interpreter}", "${program}"] if in_checkout else ["isda-bench", "train"]
    try:
        folder, arguments = split_config_dir(sys.argv[1:])
        if folder is not None:
            train += ["--config-dir", str(folder)]
        overrides = [argument for argument in arguments if argument not in ("-m", "--multirun")]
        with users_folder(folder):
            print(yaml.safe_dump(sweep(overrides, train), sort_keys=False), end="")
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
