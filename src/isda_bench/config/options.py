"""key=value options of the scripts."""

import json
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, TypeVar

from omegaconf import OmegaConf
from pydantic import BaseModel, BeforeValidator, ConfigDict

from isda_bench.config.folders import importing_from_here, users_folder
from isda_bench.config.problems import did_you_mean, problems_of
from isda_bench.errors import ConfigError, UserError
from isda_bench.runtime.home_folder import expand_home
from isda_bench.runtime.terminal import printable_lines


def module_names(given: Any) -> tuple[str, ...]:
    """The modules in 'mine' or 'mine,theirs' or a list of them.

    Raises:
        ValueError: one is no name of a module.
    """
    names = given.split(",") if isinstance(given, str) else given
    if not isinstance(names, list | tuple):
        raise ValueError("should be names of modules")
    wrong = [n for n in names if not isinstance(n, str) or not all(w.isidentifier() for w in n.split("."))]
    if wrong:
        raise ValueError(f"{wrong[0]!r} should be the name of a module")
    return tuple(names)


class Options(BaseModel):
    """Options of a script: a subclass lists them with types and defaults.

    Attributes:
        allow: modules beside isda_bench whose classes may be built where a stored run names them; they are
            imported.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    allow: Annotated[tuple[str, ...], BeforeValidator(module_names)] = ()


Kind = TypeVar("Kind", bound=Options)


def main(kind: type[Kind], command: Callable[[Kind], None], usage: str | None) -> None:
    """Runs `command` with the options on sys.argv; a user's mistake ends with a message, exit code 1 or 2.

    `--config-dir <folder>` adds a user's own configuration, as for `isda-bench train`. The first argument can
    be the value alone of an option `run`.
    """
    arguments = sys.argv[1:]
    if {"-h", "--help"} & set(arguments):
        print(usage)
        return
    try:
        folder, given = split_config_dir(arguments)
        if "run" in kind.model_fields:
            given = named_first(given, "run", list(kind.model_fields))
        with users_folder(folder):
            options = parse(kind, given)
            with importing_from_here() if options.allow else nullcontext():
                command(options)
    except BrokenPipeError:
        raise  # the output's reader has ended: isda-bench ends quietly
    except (UserError, OSError) as error:
        print(f"error: {printable_lines(str(error))}", file=sys.stderr)
        sys.exit(2 if isinstance(error, ConfigError) else 1)
    except KeyboardInterrupt:
        sys.exit(130)


def split_config_dir(arguments: list[str]) -> tuple[Path | None, list[str]]:
    """The folder after --config-dir, None where there is none, and the other arguments.

    Raises:
        ConfigError: the flag has no folder, or it is given twice.
        UserError: it begins with the home of a user that there is not.
    """
    folders, others = [], []
    left = iter(arguments)
    for argument in left:
        flag, equals, value = argument.partition("=")
        if flag in ("--config-dir", "-cd"):
            folders.append(value if equals else next(left, ""))
        else:
            others.append(argument)
    if folders and (len(folders) > 1 or not folders[0]):
        raise ConfigError(["--config-dir: takes one folder"])
    return (expand_home(folders[0]) if folders else None), others


def named_first(arguments: list[str], key: str, keys: list[str]) -> list[str]:
    """The arguments with the first one as `key=...`, unless it is an option or a flag already.

    Args:
        arguments: as typed.
        key: of the option that may be given by its value alone.
        keys: of all options.
    """
    first = arguments[0] if arguments else "-"
    if first.startswith("-") or first.partition("=")[0] in keys or ("=" in first and "/" not in first):
        return arguments
    return [f"{key}={json.dumps(first, ensure_ascii=False)}", *arguments[1:]]


def parse(kind: type[Kind], arguments: list[str]) -> Kind:
    """The options in `arguments`.

    Raises:
        ConfigError: listing every argument that cannot be read, is unknown, missing or of a wrong type.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for argument in arguments:
        try:
            key, value = _read(argument)
        except ValueError as error:
            problems.append(f"{argument}: {error}")
            continue
        if key not in kind.model_fields:
            problems.append(f"{key}: no such option{did_you_mean(key, list(kind.model_fields))}")
        elif key in values:
            problems.append(f"{key}: given twice")
        else:
            values[key] = value
    problems += problems_of(lambda: kind.model_validate(values), "")
    if problems:
        raise ConfigError(problems)
    return kind.model_validate(values)


def _read(argument: str) -> tuple[str, Any]:
    key, equals, _ = argument.partition("=")
    if not key or not equals:
        raise ValueError("should be key=value")
    try:
        given = OmegaConf.to_container(OmegaConf.from_dotlist([argument]))
    except (
        Exception
    ) as error:  # YAML and OmegaConf raise of many classes; a value that contains itself recurses
        raise ValueError("cannot be read; quote special characters") from error
    assert isinstance(given, dict)
    return key, given.get(key)
