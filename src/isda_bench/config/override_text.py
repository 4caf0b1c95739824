"""Parses the overrides of a command line, `key=value`, with Hydra's parser."""

import re
import shlex
from pathlib import Path

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, Quote, QuotedString
from hydra.errors import HydraException

from isda_bench.config.search_path import is_group


def parse(overrides: list[str]) -> tuple[list[Override], list[str]]:
    """The overrides that can be read, and a problem for each of the others. Within `hydra_context`."""
    parser = OverridesParser.create(GlobalHydra.instance().config_loader())
    parsed: list[Override] = []
    problems = []
    for text in overrides:
        try:
            (override,) = parser.parse_overrides([text])
            readable = bool(override.key_or_group)
        except (HydraException, ValueError):  # ValueError: a number of thousands of digits
            readable = False
        if not readable:
            line = quoted(text)
            how = f"; type {shlex.quote(line)}" if line else ""
            problems.append(f"{text}: cannot be read; should be key=value, special characters in quotes{how}")
        elif _has_no_list(override):
            problems.append(f"{text}: a grid takes choice(...) or range(...)")
        else:
            parsed.append(override)
    return parsed, problems


def _has_no_list(override: Override) -> bool:
    """Whether its values cannot be listed: an interval, or a pattern where there are no names."""
    pattern = isinstance(override.value(), Glob) and not is_group(override.key_or_group)
    return pattern or override.is_interval_sweep()


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
    """The override with each of its values."""
    if not override.is_sweep_override():
        return [str(override.input_line)]
    return [f"{override.key_or_group}={value}" for value in override.sweep_string_iterator()]


def readable_path(argument: str) -> str:
    """`dataset.root=~/My Images` as Hydra can read it: the home folder written out, in quotes."""
    key, _, value = argument.partition("=")
    if not re.match(r"[\w.]+=(~?/|~$|\.\.?/)[^,$]*$", argument):
        return argument
    path = re.sub("^~", lambda _: str(Path.home()), value)
    odd = re.search(r"[^\w./:+-]", path, re.ASCII)
    return (quoted(f"{key}={path}") or argument) if odd else f"{key}={path}"
