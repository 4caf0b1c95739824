"""Several choices of one group at once: `logger=[wandb,csv]`.

Hydra would merge both files into one section. Each gets a section of its own instead.
"""

import re
from collections.abc import Collection, Sequence

from isda_bench.config.problems import did_you_mean

SECTIONS = {"logger": "loggers"}
"""Group whose choices can stand beside one another -> key of `<group>=several` below which they are."""


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


def list_problems(override: str, choices: Collection[str]) -> list[str]:
    """What is wrong with several choices.

    Args:
        override: that `listed` takes apart.
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
