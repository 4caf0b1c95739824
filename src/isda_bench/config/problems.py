"""Reports wrong values of the configuration."""

import re
import sysconfig
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from traceback import extract_tb
from typing import Any

from pydantic import ValidationError

from isda_bench.config.places import PACKAGE

NOT_A_USERS = (str(PACKAGE), *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")))
"""Folders of the code that users do not write."""


def problems_of(build: Callable[[], Any], prefix: str) -> list[str]:
    """Problems that `build` finds in its arguments, a line for each, beginning with the dotted key.

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
        place = _place(error) if isinstance(error, TypeError) else ""
        return [f"{prefix}{error}" if names_a_key else f"{prefix.rstrip('.')}: {error}{place}"]
    return []


def _place(error: TypeError) -> str:
    """The line of a user's own code in which it was raised, in parentheses; empty where there is none."""
    frames = extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(NOT_A_USERS)]
    return f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""


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
        listed: the choices listed where nothing is close; None: `choices`.
    """
    close = get_close_matches(name.lower(), choices, n=1, cutoff=0.6)
    listed = choices if listed is None else listed
    return f"; did you mean {close[0]}?" if close else f"; there are: {', '.join(listed)}"
