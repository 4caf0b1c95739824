"""Several choices of one group at once: `logger=[wandb,csv]`.

Hydra would merge both files into one section. Each gets a section of its own instead.
"""

import re
from collections.abc import Collection, Sequence
from typing import Any

from isda_bench.config.problems import did_you_mean

SECTIONS = {"logger": "loggers"}
"""Group whose choices can stand beside one another -> key of `<group>=several` below which they are."""
CLASS = "class"
"""Key of one of several choices for its `_target_`, in the configuration of a run."""


def listed(override: str) -> tuple[str, list[str]] | None:
    """Group and names of an override like `logger=[wandb,csv]`; None for any other."""
    found = re.fullmatch(r"(\w+)=\[(.*)\]", override)
    if found is None or found[1] not in SECTIONS:
        return None
    return found[1], [name.strip() for name in found[2].split(",") if name.strip()]


def expanded(overrides: Sequence[str]) -> list[str]:
    """The overrides as Hydra takes them: `logger=several +logger@logger.loggers.wandb=wandb ...`."""
    lines: list[str] = []
    for override in overrides:
        group, names = listed(override) or ("", [])
        lines += [f"{group}=several"] if group else [override]
        lines += [f"+{group}@{group}.{SECTIONS[group]}.{name}={name}" for name in names]
    return lines


def sections(group: str, node: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Dotted key -> section of each choice of a group, be it one or several.

    Args:
        group: one of `SECTIONS`.
        node: its section.
    """
    several = node.get(SECTIONS[group])
    if not isinstance(several, dict):
        return {group: node}
    return {
        f"{group}.{SECTIONS[group]}.{name}": {"_target_" if key == CLASS else key: part[key] for key in part}
        for name, part in several.items()
    }


def with_plain_sections(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration in which several choices name their classes as plain values: below a component of a
    stored configuration stands nothing else.
    """
    changed = dict(config)
    for group, key in SECTIONS.items():
        several = config.get(group, {}).get(key)
        if isinstance(several, dict):
            parts = {
                name: {CLASS if key == "_target_" else key: part[key] for key in part}
                for name, part in several.items()
            }
            changed[group] = config[group] | {key: parts}
    return changed


def list_problems(override: str, choices: Collection[str]) -> list[str]:
    """Problems of several choices.

    Args:
        override: one that `listed` parses.
        choices: of its group.
    """
    found = listed(override)
    assert found is not None
    group, names = found
    single = sorted(set(choices) - {"several"})
    problems = [
        f"{group}={name}: no such {group}{did_you_mean(name, single)}" for name in names if name not in single
    ]
    if not names:
        problems.append(f"{override}: no such {group}; there are: {', '.join(single)}")
    if len(set(names)) < len(names):
        problems.append(f"{override}: names a {group} twice")
    if "none" in names and len(names) > 1:
        problems.append(f"{override}: none is for no {group} at all")
    return problems
