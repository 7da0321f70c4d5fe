"""Settings classes that validate their fields; an invalid value raises a one-line error that says what is allowed."""

from __future__ import annotations

import functools
import math
import types
import typing
from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any, TypeVar, dataclass_transform

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from dbeta.errors import DBetaError

Class = TypeVar("Class", bound=type)
#: What `check_value` says is allowed, by type.
WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    dict: "a mapping",
    list: "a list",
}


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a boolean is not a number")
    return value


_Number = Annotated[float, BeforeValidator(_number)]
_Whole = Annotated[int, BeforeValidator(_number)]
# Error messages quote these descriptions
Share = Annotated[_Number, Field(ge=0, le=1, description="a number from 0 to 1")]
ShareBelow1 = Annotated[_Number, Field(ge=0, lt=1, description="a number from 0 to below 1")]
Amount = Annotated[_Number, Field(ge=0, allow_inf_nan=False, description="a number of at least 0")]
Rate = Annotated[_Number, Field(gt=0, lt=1, description="a number between 0 and 1")]
Count = Annotated[_Whole, Field(ge=0, description="a whole number of at least 0")]
#: Of random generators, which take 64 bits with a sign.
Seed = Annotated[_Whole, Field(ge=0, lt=2**63, description="a whole number of at least 0 and below 2^63")]
Positive = Annotated[_Whole, Field(ge=1, description="a whole number of at least 1")]
Weight = Annotated[_Number, Field(gt=0, allow_inf_nan=False)]
Name = Annotated[str, Field(strict=True, description="a string")]


@dataclass_transform()
def settings(*, frozen: bool = False) -> Any:
    """Make a class a dataclass whose fields are validated by pydantic; invalid values raise `DBetaError`.

    Args:
        frozen: make instances read-only.
    """

    def decorate(cls: Class) -> Class:
        made: Any = dataclass(cls, config=ConfigDict(extra="forbid"), frozen=frozen)
        plain_init = made.__init__

        @functools.wraps(plain_init)
        def init(self: Any, *args: Any, **kwargs: Any) -> None:
            values = dict(zip(made.__pydantic_fields__, args, strict=False)) | kwargs
            try:
                plain_init(self, **values)
            except ValidationError as error:
                raise DBetaError(explain(made, error, values)) from None

        made.__init__ = init
        return made

    return decorate


def explain(kind: Any, error: ValidationError, values: Mapping[str, Any]) -> str:
    """Describe the first validation error in one sentence: the key, what is allowed, what was given.

    Args:
        kind: class decorated with `settings`; its fields' descriptions say what is allowed.
        error: the error that pydantic raised.
        values: arguments that the class was given.
    """
    first = error.errors(include_url=False)[0]
    keys: list[str] = []
    field, given = None, values
    for part in map(str, first["loc"]):
        if kind is None:
            break
        keys.append(part)
        if part not in kind.__pydantic_fields__:
            return f"unknown setting {'.'.join(keys)}; choose from {', '.join(kind.__pydantic_fields__)}"
        field, given = kind.__pydantic_fields__[part], given[part]
        kind = field.annotation if hasattr(field.annotation, "__pydantic_fields__") else None
    if field is None or (kind is not None and isinstance(given, Mapping)):
        return f"{'.'.join(keys)}: {first['ctx']['error']}".removeprefix(": ")
    return f"{'.'.join(keys)} must be {field.description}, not {given!r}"


def check_value(key: str, value: Any, hint: Any) -> Any:
    """Check a setting of a class that is not ours against the type that the class declares for it.

    Args:
        key: its name, for the message.
        value: as YAML gave it.
        hint: the type.

    Returns:
        The value; a number if it was one written as text, such as 1e-3, which YAML 1.1 does not know as a number.

    Raises:
        DBetaError: the value is of another type, or not finite.
    """
    value = _plain_number(value, hint)
    try:
        value = TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True)).validate_python(value, strict=True)
    except ValidationError:
        words = dict.fromkeys(WORDS[kind] for kind in _kinds(hint) if kind in WORDS)
        raise DBetaError(f"{key} must be {' or '.join(words) or 'left out'}, not {value!r}") from None
    if isinstance(value, float) and not math.isfinite(value):
        raise DBetaError(f"{key} must be a finite number, not {value!r}")
    return value


def _plain_number(value: Any, hint: Any) -> Any:
    """Where a type wants a number: one that is written as text, or as 2.0 for 2, as the number; all else unchanged."""
    kinds = _kinds(hint)
    if not {int, float} & set(kinds) or not isinstance(value, str | float):
        return value
    try:
        number = float(value)
    except ValueError:
        return value
    return int(number) if float not in kinds and number.is_integer() else number


def _kinds(hint: Any) -> list[type]:
    """The plain types that a type hint allows, text for an enumeration."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [kind for part in typing.get_args(hint) for kind in _kinds(part)]
    kind = typing.get_origin(hint) or hint
    return [str] if isinstance(kind, type) and issubclass(kind, Enum) else [kind]
