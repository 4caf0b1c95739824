"""Parses the overrides of a command line, `key=value`, with Hydra's parser."""

import re
import shlex
from pathlib import Path

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

from isda_bench.errors import ConfigError


def parse(overrides: list[str]) -> tuple[list[Override], list[str]]:
    """The overrides that can be read, and a problem for each of the others. Within `hydra_context`."""
    parser = OverridesParser.create(GlobalHydra.instance().config_loader())
    parsed: list[Override] = []
    problems = []
    for text in overrides:
        try:
            found = [override for override in parser.parse_overrides([text]) if override.key_or_group]
        except (HydraException, ValueError):  # ValueError: a number of thousands of digits
            found = []
        parsed += found
        if not found:
            line = quoted(text)
            how = f"; type {shlex.quote(line)}" if line else ""
            problems.append(f"{text}: cannot be read; should be key=value, special characters in quotes{how}")
    return parsed, problems


def quoted(text: str) -> str | None:
    """`key="value"` for a `key=value` whose value cannot be read; None where no quotes help."""
    key, _, value = text.partition("=")
    line = f"{key}={QuotedString(value, Quote.double).with_quotes()}"
    if not re.fullmatch(r"[\w./]+=[^$]+", text):
        return None
    try:
        (override,) = OverridesParser.create().parse_overrides([line])
    except (HydraException, ValueError):
        return None
    return line if override.value() == value else None


def lines_of(override: Override) -> list[str]:
    """The override with each of its values.

    Raises:
        ConfigError: they cannot be listed.
    """
    if not override.is_sweep_override():
        return [str(override.input_line)]
    if not override.is_discrete_sweep():
        raise ConfigError([f"{override.input_line}: a grid takes choice(...) or range(...)"])
    return [f"{override.key_or_group}={value}" for value in override.sweep_string_iterator()]


def readable_path(argument: str) -> str:
    """`dataset.root=~/My Images` as Hydra can read it: the home folder written out, in quotes."""
    key, _, value = argument.partition("=")
    if not re.match(r"[\w.]+=(~?/|~$|\.\.?/)[^,$]*$", argument):
        return argument
    path = re.sub("^~", lambda _: str(Path.home()), value)
    odd = re.search(r"[^\w./:+-]", path, re.ASCII)
    return (quoted(f"{key}={path}") or argument) if odd else f"{key}={path}"
