"""Limits of a grid: Hydra lists all runs before the first begins."""

import math
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep
from hydra.errors import HydraException

from isda_bench.errors import ConfigError

MOST_JOBS = 100_000


def value_count(override: Override) -> float:
    """The number of values of an override."""
    value = override.value()
    if isinstance(value, ChoiceSweep):
        return len(value.list)
    if not isinstance(value, RangeSweep):
        return 1
    assert value.start is not None and value.stop is not None
    values = -((value.start - value.stop) // value.step) if value.step else math.inf  # exact for integers
    return int(values) if abs(values) < math.inf else math.inf


def check_values(varied: Mapping[str, Any]) -> None:
    """Refuses too many values of a key that a configuration varies by itself.

    Args:
        varied: key -> values as typed; those that cannot be read are reported where they are read.

    Raises:
        ConfigError: a key has too many.
    """
    for key, values in varied.items():
        if _count(str(key), str(values)) > MOST_JOBS:
            raise ConfigError([f"hydra.sweeper.params.{key}: more than {MOST_JOBS:,} values"])


def runs_problem(counts: Mapping[str, float]) -> str | None:
    """Why a grid has too many runs.

    Args:
        counts: key -> how many values it has.
    """
    jobs = math.prod(counts.values())
    if jobs <= MOST_JOBS:
        return None
    many = ", ".join(key for key, count in counts.items() if count > 1)
    return f"{many}: a grid of {jobs:,} runs; at most {MOST_JOBS:,}"


def counts_of(overrides: Iterable[Override]) -> dict[str, float]:
    """Key -> how many values it is given."""
    return {str(override.key_or_group): value_count(override) for override in overrides}


@cache
def _count(key: str, values: str) -> float:
    """How many values; more than Hydra's slow parser should read: not counted exactly."""
    if values.count(",") >= MOST_JOBS:
        return math.inf
    try:
        (override,) = OverridesParser.create().parse_overrides([f"{key}={values}"])
    except (HydraException, ValueError):
        return 1
    return value_count(override)
