"""Flags of a command line (`-m`, `--cfg`, ...), which are Hydra's: the only use of a private module of it."""

import argparse
import re

from hydra._internal.utils import get_args_parser

from isda_bench.errors import ConfigError

_SHORT = re.compile(
    r"-(sc|cp|cn|cd)(=|$)|-c(job|hydra|all)$|-i(all|config|defaults(-tree)?|plugins|searchpath)$"
)


def parse_flags(arguments: list[str]) -> argparse.Namespace:
    """The flags and the overrides among arguments, as Hydra will read them.

    Raises:
        ConfigError: for `-model=resnet32`, which Hydra would take for `-m odel=resnet32`.
    """
    parser = get_args_parser()
    flags = {option for action in parser._actions for option in action.option_strings}
    problems = []
    for argument in arguments:
        if re.match(r"-[^-\d=][^=]|-s$", argument) and not _SHORT.match(argument):
            long = f"-{argument.partition('=')[0]}" in flags
            meant = f"-{argument}" if long else argument[1:] if "=" in argument else ""
            problems.append(f"{argument}: no such flag" + (f"; did you mean {meant}?" if meant else ""))
    if problems:
        raise ConfigError(problems)
    return parser.parse_args(arguments)


def flags_first(arguments: list[str]) -> list[str]:
    """The arguments in an order that Hydra takes: not `a=1 -m b=2,3`."""
    return sorted(arguments, key=lambda argument: argument not in ("-m", "--multirun", "--resolve"))
