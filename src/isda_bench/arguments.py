"""Checks the arguments of a component's constructor, all at once."""

import json
from collections.abc import Callable, Mapping
from functools import wraps
from inspect import Parameter, signature
from typing import Any, TypeVar, cast, get_type_hints

from pydantic import (
    ConfigDict,
    Field,
    PydanticSchemaGenerationError,
    TypeAdapter,
    create_model,
    validate_call,
)

Constructor = TypeVar("Constructor", bound=Callable[..., None])
_checked = validate_call(config=ConfigDict(strict=True, arbitrary_types_allowed=True, allow_inf_nan=False))


def checked(constructor: Constructor) -> Constructor:
    """Decorator: types, ranges and choices as the annotations say them (`PositiveInt`, `Literal[...]`, ...).

    Raises:
        pydantic.ValidationError: a ValueError that lists every wrong argument, by its name.
    """
    validated: Any = _checked(constructor)
    names = list(signature(constructor).parameters)

    @wraps(validated)
    def call(*args: Any, **kwargs: Any) -> Any:
        """Names the arguments after `self`: pydantic would report a place for a name."""
        named = dict(zip(names[1:], args[1:], strict=False))
        if len(args) > len(names) or named.keys() & kwargs.keys():
            return validated(*args, **kwargs)
        return validated(*args[:1], **named, **kwargs)

    return cast(Constructor, call)


def check_annotations(kind: type, arguments: Mapping[str, Any]) -> None:
    """Checks arguments against the annotations of a constructor that is not `checked` itself.

    What is not annotated, or annotated with a class that no plain value is of, is not checked, and the
    default is right for every annotation: `width: int = None` is often written.

    Args:
        kind: the class.
        arguments: plain values; a list is right for a tuple, as YAML has none.

    Raises:
        pydantic.ValidationError: a ValueError that lists every wrong argument.
    """
    constructor: Any = kind.__init__  # type: ignore[misc]
    if hasattr(constructor, "raw_function"):  # `checked` does it when the constructor is called
        return
    try:
        hints, parameters = (
            get_type_hints(constructor, include_extras=True),
            signature(constructor).parameters,
        )
    except (NameError, TypeError, ValueError):  # a name for type checkers alone, or a constructor in C
        return
    fields: dict[str, Any] = {}
    for name, value in arguments.items():
        parameter = parameters.get(name)
        if parameter is None or parameter.kind is Parameter.VAR_KEYWORD or parameter.default == value:
            continue
        if name in hints and _has_schema(hints[name]):
            fields[f"argument_{len(fields)}"] = (hints[name], Field(alias=name))
    # In JSON's mode a list is right for a tuple, while text is no number.
    create_model("Arguments", **fields).model_validate_json(json.dumps(dict(arguments)), strict=True)


def _has_schema(annotation: Any) -> bool:
    try:
        TypeAdapter(annotation)
    except PydanticSchemaGenerationError:
        return False
    return True
