"""Files of conf/ that are a layer of their own: they can be laid below or above what Hydra composes.

A file without a defaults list is the lowest layer of its section. An experiment is the highest layer of all;
a method comes next. Many configurations share what lies between, so Hydra composes that once. A file whose
place is not certain is no such layer: Hydra composes it with the rest.
"""

import pickle
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from isda_bench.config.grid_size import check_values
from isda_bench.config.run_config import CONF
from isda_bench.config.search_path import EMPTY, parsed

NOT_LAID = ("defaults", "hydra")
"""Keys of a file that are no part of a run's configuration."""


@dataclass(frozen=True)
class Chosen:
    """A configuration under some choices, before values are set.

    Attributes:
        pickled: the configuration without Hydra's own node; reading it takes a sixth of copying it.
        names: chosen name of each group.
        sweep: what it varies by itself, key -> values as typed.
    """

    pickled: bytes
    names: dict[str, Any]
    sweep: dict[str, Any]

    @classmethod
    def of(cls, config: DictConfig, names: dict[str, Any], sweep: dict[str, Any]) -> "Chosen":
        """Closes the configuration: only keys that it has can be set."""
        OmegaConf.set_struct(config, True)
        return cls(pickle.dumps(config), names, sweep)

    def config(self) -> DictConfig:
        """The configuration, which the caller may change."""
        config: DictConfig = pickle.loads(self.pickled)
        return config


@dataclass(frozen=True)
class HighLayer:
    """A file that sets keys of several sections, taken apart.

    Attributes:
        choices: group -> name that it chooses.
        content: what it sets, over all else but higher layers and the command line.
        sweep: what it varies, key -> values as typed.
    """

    choices: dict[str, str]
    content: DictConfig
    sweep: dict[str, Any]


@dataclass(frozen=True)
class Layers:
    """Choices, of which some are layers.

    Attributes:
        lines: what Hydra composes, as it reads it.
        lowest: group -> section of each file that is a lowest layer.
        highest: of the layers above, the highest first.
        names: group -> name of all of these layers.
    """

    lines: list[str]
    lowest: dict[str, DictConfig]
    highest: list[HighLayer]
    names: dict[str, str]

    @classmethod
    def of(cls, choices: list[Override]) -> "Layers":
        """Takes choices of groups apart."""
        lines = {choice.key_or_group: str(choice.input_line) for choice in choices}
        names = {choice.key_or_group: str(choice.value()) for choice in choices}
        high: dict[str, HighLayer] = {}
        for group, usual in reversed(_entries()):
            layer = high_layer(group, names.get(group, usual))
            if layer:
                high[group] = layer
                lines = {other: f"{other}={name}" for other, name in layer.choices.items()} | lines
                names = layer.choices | names
            elif group in names or not _is_open(usual):  # the layers below lie below this file
                break
        found = {group: section(group, name) for group, name in names.items() if group not in high}
        lowest = {group: content for group, content in found.items() if content is not None}
        lines |= {group: f"{group}={EMPTY}" for group in lowest}
        composed = sorted(line for group, line in lines.items() if group not in high)
        laid = {group: name for group, name in names.items() if group in high or group in lowest}
        return cls(composed, lowest, list(high.values()), laid)

    def around(self, compose: Callable[..., Chosen]) -> Chosen | None:
        """The layers around what `compose` makes of the other choices; None where they do not decide alone.

        Raises:
            ConfigError: they do not compose.
        """
        between = compose(*self.lines)
        names, sweep, config = between.names | self.names, between.sweep, between.config()
        if self.names and _chosen_together(names):
            return None
        OmegaConf.set_struct(config, False)
        for group, content in self.lowest.items():
            config[group] = OmegaConf.merge(content, config.get(group) or {})
        for layer in reversed(self.highest):
            config.merge_with(layer.content)
            sweep = sweep | layer.sweep
        return Chosen.of(config, names, sweep)


def section(group: str, name: str) -> DictConfig | None:
    """The content of the chosen file; None where that is more, or something else, than its section."""
    path = CONF / group / f"{name}.yaml"
    header, content = parsed(path) if path.is_file() else ("", None)
    if not isinstance(content, DictConfig) or "defaults" in content or "@package" in header:
        return None
    return content


def high_layer(group: str, name: str) -> HighLayer | None:
    """The layer of a chosen file that sets keys of several sections; None where it is none of its own."""
    path = CONF / group / f"{name}.yaml"
    return _high_layer(path, path.stat().st_mtime_ns) if path.is_file() else None


@cache
def _high_layer(path: Path, changed: int) -> HighLayer | None:
    """As `high_layer`, once for each time `changed` of a file."""
    header, content = parsed(path)
    plain = OmegaConf.to_container(content)
    if not isinstance(content, DictConfig) or not isinstance(plain, dict):
        return None
    choices, hydra = _choices(plain.get("defaults") or []), plain.get("hydra") or {}
    if choices is None or "# @package _global_" not in header.splitlines() or "${" in str(hydra):
        return None
    laid = OmegaConf.masked_copy(content, [str(key) for key in content if key not in NOT_LAID])
    varied = (hydra.get("sweeper") or {}).get("params") or {}
    check_values(varied)
    return HighLayer(choices, laid, varied)


def _choices(defaults: list[Any]) -> dict[str, str] | None:
    """Group -> name of a defaults list like `- override /model: resnet8`; None for any other."""
    found = {}
    for entry in defaults:
        ((key, name),) = entry.items() if isinstance(entry, dict) and len(entry) == 1 else [("", "")]
        group = re.fullmatch(r"override /(\w+)", key)
        if group is None or not re.fullmatch(r"\w+", str(name)):
            return None
        found[group[1]] = str(name)
    return found


def _chosen_together(names: dict[str, Any]) -> bool:
    """Whether the names of several groups choose a file, as in `method/settings: ${method}-${dataset}`."""
    for group, value in _entries():
        name = re.sub(r"\$\{([\w/]+)\}", lambda match: str(names.get(match[1])), value)
        if name != value and (CONF / group / f"{name}.yaml").is_file():
            return True
    return False


def _is_open(usual: str) -> bool:
    """Whether no file is chosen unless a name is: `null`, or one that other names decide."""
    return usual == "None" or "${" in usual


def _entries() -> list[tuple[str, str]]:
    """Group and usual name of each entry in the defaults list of config.yaml, the lowest layer first."""
    path = CONF / "config.yaml"
    return _entries_of(path, path.stat().st_mtime_ns)


@cache
def _entries_of(path: Path, changed: int) -> list[tuple[str, str]]:
    """As `_entries`, once for each time `changed` of the file."""
    whole: Any = OmegaConf.to_container(parsed(path)[1])
    pairs = [pair for entry in whole["defaults"] if isinstance(entry, dict) for pair in entry.items()]
    return [(key.split()[-1], str(name)) for key, name in pairs if not key.startswith("override ")]
