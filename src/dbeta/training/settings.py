"""Settings classes that validate their fields; an invalid value raises a one-line error that says what is allowed."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, dataclass_transform

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from dbeta.errors import DBetaError

Class = TypeVar("Class", bound=type)


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
