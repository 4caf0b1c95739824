"""The configuration's keys with their types, and how a wrong one is told."""

import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError

from isda_bench.schedules import Schedule

Component = dict[str, Any]


class Section(BaseModel):
    """Keys that belong together."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Every(Section):
    """How often something happens.

    Attributes:
        every: epochs from one time to the next.
    """

    every: PositiveInt


class Checkpoint(Every):
    """When the state is saved.

    Attributes:
        every: epochs from one time to the next.
        every_minutes: from one time to the next within an epoch; null: only after epochs.
    """

    every_minutes: PositiveFloat | None = None


class Settings(Section):
    """The whole configuration, as conf/config.yaml describes it; components check themselves."""

    seed: Annotated[int, Field(ge=0, lt=2**63)]
    device: str
    compile: bool
    capture: bool
    precision: Literal["fp32", "tf32", "bf16"]
    runs_dir: Annotated[str, Field(min_length=1)]
    plan: bool
    evaluate: Every
    checkpoint: Checkpoint
    schedule: Schedule
    dataset: Component
    model: Component
    loss: Component
    augment: Component
    generator: Component
    logger: Component


COMPONENTS = [name for name, field in Settings.model_fields.items() if field.annotation == Component]


def setting_problems(config: dict[str, Any]) -> list[str]:
    """What is wrong with the keys outside the components."""
    return problems_of(lambda: Settings.model_validate(config), "")


def problems_of(build: Callable[[], Any], prefix: str) -> list[str]:
    """What `build` finds wrong with its arguments, a line for each, beginning with the dotted key.

    Args:
        build: raises ValueError (pydantic's ValidationError lists several) or TypeError for wrong arguments.
        prefix: dotted key of the arguments' section, with the dot.
    """
    try:
        build()
    except ValidationError as error:
        return [_problem_line(entry, prefix) for entry in error.errors()]
    except (ValueError, TypeError) as error:
        names_a_key = re.match(r"\w+=", str(error))
        return [f"{prefix}{error}" if names_a_key else f"{prefix.rstrip('.')}: {error}"]
    return []


def _problem_line(entry: Any, prefix: str) -> str:
    key = prefix + ".".join(str(part) for part in entry["loc"])
    kind, given = entry["type"], entry["input"]
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{key}: no such key"
    if kind in ("missing", "missing_argument", "missing_keyword_only_argument"):
        return f"{key}: not given"
    if kind in ("model_type", "dict_type"):
        return f"{key}={_shown(given)}: should be a section; its keys are set one by one"
    message = re.sub(r"^Value error, ", "", entry["msg"])
    if kind == "value_error":
        return f"{key}.{message}" if key else message
    return f"{key}={_shown(given)}: {re.sub('^(Input|String) should', 'should', message)}"


def _shown(value: Any) -> str:
    """The value as a configuration spells it."""
    return {"None": "null", "True": "true", "False": "false"}.get(repr(value), repr(value))


def did_you_mean(name: str, choices: list[str], listed: list[str] | None = None) -> str:
    """'; did you mean X?' if one of `choices` is close to `name`, else the choices themselves.

    Args:
        name: what was given.
        choices: what could have been meant.
        listed: what is told where nothing is close; null: `choices`.
    """
    close = get_close_matches(name.lower(), choices, n=1, cutoff=0.6)
    listed = choices if listed is None else listed
    return f"; did you mean {close[0]}?" if close else f"; there are: {', '.join(listed)}"
