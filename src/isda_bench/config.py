"""Checks a composed configuration as a whole, and names the run that it describes."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from isda_bench.errors import ConfigError
from isda_bench.schedules import Schedule

CONF = Path(__file__).resolve().parents[2] / "conf"

NOT_IN_IDENTITY = ("device", "runs_dir", "logger", "checkpoint", "dataset.root", "dataset.download")
"""Keys that do not change a run's result."""

ADDED_LATER: dict[str, Any] = {}
"""Dotted key -> default of every key that the configuration did not have at first: append only.

Where a key has this value it is left out of the identity, so that older runs keep theirs.
"""

Component = dict[str, Any]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Every(_Section):
    """How often something happens.

    Attributes:
        every: epochs from one time to the next.
    """

    every: PositiveInt


class Settings(_Section):
    """The whole configuration, as conf/config.yaml describes it; components check themselves."""

    seed: Annotated[int, Field(ge=0, lt=2**63)]
    device: str
    precision: Literal["fp32", "tf32", "bf16"]
    runs_dir: Annotated[str, Field(min_length=1)]
    evaluate: Every
    checkpoint: Every
    schedule: Schedule
    dataset: Component
    model: Component
    loss: Component
    augment: Component
    generator: Component
    logger: Component


@dataclass(frozen=True)
class RunConfig:
    """A checked configuration and the names under which its parts were chosen.

    Attributes:
        config: the resolved configuration, plain values.
        names: chosen name of each group (dataset, model, loss, ...).
    """

    config: dict[str, Any]
    names: dict[str, str]

    @cached_property
    def settings(self) -> Settings:
        """The configuration with its types."""
        return Settings.model_validate(self.config)

    @property
    def cell(self) -> str:
        """The run's id without the seed: runs of one cell differ in nothing else."""
        parts = {key: value for key, value in identity(self.config).items() if key != "seed"}
        return f"{self._title}-{_hash(parts)}"

    @property
    def run_id(self) -> str:
        """<dataset>-<model>-<loss>-s<seed>-<hash8>."""
        return f"{self._title}-s{self.config['seed']}-{_hash(identity(self.config))}"

    @property
    def _title(self) -> str:
        return "-".join(self.names[group] for group in ("dataset", "model", "loss"))

    def as_dict(self) -> dict[str, Any]:
        """What is kept of it in files."""
        return {
            "run_id": self.run_id,
            "cell": self.cell,
            "names": self.names,
            "identity": identity(self.config),
            "config": self.config,
        }


def identity(config: dict[str, Any]) -> dict[str, Any]:
    """What decides a run's result: the configuration less `NOT_IN_IDENTITY` and later keys at their default.

    Whole floats become integers, so that 1 and 1.0 are one value.
    """
    return _identity(config, "")


def _identity(node: dict[str, Any], prefix: str) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in node.items():
        key = prefix + name
        if key in NOT_IN_IDENTITY or (key in ADDED_LATER and ADDED_LATER[key] == value):
            continue
        kept[name] = _identity(value, f"{key}.") if isinstance(value, dict) else _canonical(value)
    return kept


def _canonical(value: Any) -> Any:
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _hash(parts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:8]


def check(config: dict[str, Any]) -> None:
    """Checks every key, and builds every component without its data or weights.

    Raises:
        ConfigError: listing all problems.
    """
    problems = setting_problems(config)
    if not problems:
        from isda_bench.build import part_problems  # imports torch: only where the keys are right

        problems = part_problems(Settings.model_validate(config))
    if problems:
        raise ConfigError(problems)


def setting_problems(config: dict[str, Any]) -> list[str]:
    """What is wrong with the keys outside the components."""
    return problems_of(lambda: Settings.model_validate(config), "", config)


def problems_of(build: Callable[[], Any], prefix: str, given: dict[str, Any]) -> list[str]:
    """What `build` finds wrong with its arguments, a line for each, beginning with the dotted key.

    Args:
        build: raises ValueError (pydantic's ValidationError lists several) or TypeError for wrong arguments.
        prefix: dotted key of the arguments' section, with the dot.
        given: the section, for the values.
    """
    try:
        build()
    except ValidationError as error:
        return [_problem_line(entry, prefix, given) for entry in error.errors()]
    except (ValueError, TypeError) as error:
        return [f"{prefix}{error}" if "=" in str(error).split(":")[0] else f"{prefix.rstrip('.')}: {error}"]
    return []


def _problem_line(entry: Any, prefix: str, given: dict[str, Any]) -> str:
    key = prefix + ".".join(str(part) for part in entry["loc"])
    if entry["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{key}: no such key"
    if entry["type"] in ("missing", "missing_argument", "missing_keyword_only_argument"):
        return f"{key}: not given"
    message = entry["msg"].removeprefix("Value error, ").replace("Input should", "should")
    if entry["type"] == "value_error":
        return f"{key}.{message}" if key else message
    return f"{key}={entry['input']!r}: {message}"


def did_you_mean(name: str, choices: list[str]) -> str:
    """'; did you mean X?' if one of `choices` is close to `name`, else the choices themselves."""
    close = get_close_matches(name, choices, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else f"; there are: {', '.join(choices)}"
