"""Several choices of one group at once: `logger=[wandb,csv]`."""

from collections.abc import Collection
from typing import Any

from hydra.core.override_parser.types import Override

from isda_bench.config.problems import did_you_mean

GROUPS = ("logger",)
"""Groups whose choices can stand beside one another."""


def list_problems(override: Override, choices: Collection[str]) -> list[str]:
    """What is wrong with a list as the value of a group.

    Args:
        override: whose value is a list.
        choices: of its group.
    """
    group, value = override.key_or_group, override.value()
    assert isinstance(value, list)
    names: list[Any] = [str(name) for name in value]
    if group not in GROUPS:
        return [f"{override.input_line}: takes one choice"]
    if not names:
        return [f"{override.input_line}: no such {group}; there are: {', '.join(sorted(choices))}"]
    problems = [
        f"{group}={name}: no such {group}{did_you_mean(name, sorted(choices))}"
        for name in names
        if name not in choices
    ]
    if len(set(names)) < len(names):
        problems.append(f"{override.input_line}: names a {group} twice")
    if "none" in names and len(names) > 1:
        problems.append(f"{override.input_line}: none is for no {group} at all")
    return problems
