"""key=value options of the scripts."""

import sys
from collections.abc import Callable
from typing import TypeVar

from omegaconf import OmegaConf
from pydantic import BaseModel, ConfigDict

from isda_bench.config import did_you_mean, problems_of
from isda_bench.errors import ConfigError, UserError


class Options(BaseModel):
    """Options of a script: a subclass lists them with types and defaults."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


Kind = TypeVar("Kind", bound=Options)


def main(kind: type[Kind], command: Callable[[Kind], None], usage: str | None) -> None:
    """Runs `command` with the options on sys.argv; a user's mistake ends with one message, exit code 1 or 2."""
    arguments = sys.argv[1:]
    if {"-h", "--help"} & set(arguments):
        print(usage)
        return
    try:
        command(parse(kind, arguments))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, ConfigError) else 1)
    except KeyboardInterrupt:
        sys.exit(130)


def parse(kind: type[Kind], arguments: list[str]) -> Kind:
    """The options in `arguments`.

    Raises:
        ConfigError: listing every argument that cannot be read, is unknown, missing or of a wrong type.
    """
    known = list(kind.model_fields)
    problems = [f"{a}: should be key=value" for a in arguments if "=" not in a]
    given = OmegaConf.to_container(OmegaConf.from_cli([a for a in arguments if "=" in a]))
    assert isinstance(given, dict)
    values = {str(key): value for key, value in given.items()}
    unknown = [key for key in values if key not in known]
    problems += [f"{key}: no such option{did_you_mean(key, known)}" for key in unknown]
    values = {key: value for key, value in values.items() if key in known}
    problems += problems_of(lambda: kind.model_validate(values), "", values)
    if problems:
        raise ConfigError(problems)
    return kind.model_validate(values)
