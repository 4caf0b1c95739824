"""Several loggers at once: `logger=[wandb,csv]`.

Hydra would merge both files into one section. Each gets a section of its own instead.
"""

import re
from collections.abc import Sequence
from typing import Any

SEVERAL = "several"
"""The choice of the group that has room for the others."""
CLASS = "class"
"""Key of one of several loggers for its `_target_`, in the configuration of a run."""


def listed(override: str) -> list[str] | None:
    """The names in an override like `logger=[wandb,csv]`; None for any other."""
    found = re.fullmatch(r"logger=\[(.*)\]", override)
    return [name.strip() for name in found[1].split(",") if name.strip()] if found else None


def expanded(overrides: Sequence[str]) -> list[str]:
    """The overrides as Hydra takes them: `logger=several +logger@logger.loggers.wandb=wandb ...`."""
    lines: list[str] = []
    for override in overrides:
        names = listed(override)
        lines.append(override if names is None else f"logger={SEVERAL}")
        lines += [f"+logger@logger.loggers.{name}={name}" for name in names or []]
    return lines


def sections(node: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Dotted key -> section of each logger of a section `logger`, be it one or several."""
    loggers = node.get("loggers")
    if not isinstance(loggers, dict):
        return {"logger": node}
    return {f"logger.loggers.{name}": _renamed(part, CLASS, "_target_") for name, part in loggers.items()}


def with_plain_sections(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration in which several loggers name their classes as plain values: below a component of a
    stored configuration stands nothing else.
    """
    loggers = config.get("logger", {}).get("loggers")
    if not isinstance(loggers, dict):
        return config
    plain = {name: _renamed(part, "_target_", CLASS) for name, part in loggers.items()}
    return config | {"logger": config["logger"] | {"loggers": plain}}


def _renamed(section: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    return {new if key == old else key: value for key, value in section.items()}
