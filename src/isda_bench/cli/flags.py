"""Flags of a command line (`-m`, `--cfg`, ...), which are Hydra's: the only use of a private module of it."""

import argparse
import re

from hydra._internal.utils import get_args_parser

from isda_bench.errors import ConfigError


def parse_flags(arguments: list[str]) -> argparse.Namespace:
    """The flags and the overrides among arguments, in any order.

    Raises:
        ConfigError: for `-model=resnet32`, which the parser would take for `-m odel=resnet32`.
    """
    parser = get_args_parser()
    flags = {option for action in parser._actions for option in action.option_strings}
    problems = []
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        if re.match(r"-[^-\d]", name) and name not in flags:
            meant = argument[1:] if equals else f"-{name}" if f"-{name}" in flags else ""
            problems.append(f"{argument}: no such flag" + (f"; did you mean {meant}?" if meant else ""))
    if problems:
        raise ConfigError(problems)
    return parser.parse_intermixed_args(arguments)
