"""Checks the arguments of a component's constructor, all at once."""

from pydantic import ConfigDict, validate_call

checked = validate_call(config=ConfigDict(strict=True, arbitrary_types_allowed=True, allow_inf_nan=False))
"""Decorator: types, ranges and choices as the annotations say them (`PositiveInt`, `Literal[...]`, ...).

Raises:
    pydantic.ValidationError: a ValueError that lists every wrong argument.
"""
