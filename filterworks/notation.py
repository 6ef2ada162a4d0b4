"""How filters are written: ``name:key=value,key=value``, joined by ``|``."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from filterworks.errors import ArgumentError, unknown

Operation = TypeVar("Operation")
# Text that needs no quotes: nothing in it has a meaning of its own in a chain.
_BARE = re.compile(r'[^\s,|()\[\]"=]+')
# Numbers that JSON does not know, alone or in lists: .5 and 5. and +5.
_NUMBERS = re.compile(r"[\d\s.,eE+\-\[\]]+")
_NO_JSON = (
    (re.compile(r"(?<![\w.])\+(?=[\d.])"), ""),
    (re.compile(r"(?<![\w.])\.(?=\d)"), "0."),
    (re.compile(r"(?<![\w.])(\d+)\.(?![\d.])"), r"\1.0"),
)


def named(name: str, operations: Mapping[str, Operation]) -> Operation:
    """Return the operation of a name.

    Raises
    ------
    ArgumentError
        If there is none; the near names are given.
    """
    if not name:
        raise ArgumentError("a filter's name is missing; filters are written name:key=value, joined by |")
    if name not in operations:
        raise ArgumentError(unknown("filter", name, operations))
    return operations[name]


def checked(
    name: str,
    parameters: Mapping[str, Any],
    accepted: Mapping[str, inspect.Parameter],
    common: Iterable[str],
) -> tuple[tuple[str, Any], ...]:
    """Return the parameters of a filter, none of them unknown and none missing.

    Raises
    ------
    ArgumentError
        With the name of the filter and of the parameter.
    """
    for key in parameters:
        if key not in accepted and key not in common:
            raise ArgumentError(f"{name}: " + unknown("parameter", key, [*accepted, *common]))
    for key, parameter in accepted.items():
        if parameter.default is inspect.Parameter.empty and key not in parameters:
            raise ArgumentError(f"{name} needs a value for `{key}`, as in {name}:{key}=2")
    return tuple((key, frozen(value)) for key, value in parameters.items())


def written_step(name: str, parameters: Iterable[tuple[str, Any]]) -> str:
    """Return ``name:key=value,key=value``, which reads back as the same step.

    Examples
    --------
    >>> written_step("disk", [("radius", 1.5)])
    'disk:radius=1.5'
    """
    values = ",".join(f"{key}={_written(value)}" for key, value in parameters)
    return f"{name}:{values}" if values else name


def frozen(value: Any) -> Any:
    """Return lists, at any depth, as tuples."""
    return tuple(frozen(item) for item in value) if isinstance(value, list | tuple) else value


def _written(value: Any) -> str:
    """Return a value as JSON, or bare where that reads back as the same text."""
    if isinstance(value, str) and _BARE.fullmatch(value) and _parsed(value) == value:
        return value
    return json.dumps(value, default=str, separators=(",", ":"))


def _parsed(text: str) -> Any:
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    if _NUMBERS.fullmatch(text):
        number = text
        for written, known in _NO_JSON:
            number = written.sub(known, number)
        with suppress(ValueError, RecursionError):
            return json.loads(number)
    return text


def _split(text: str, separator: str) -> list[str]:
    """Split at separators that lie outside of brackets and quotes."""
    parts, depth, quoted, start = [], 0, False, 0
    escaped = False
    for position, sign in enumerate(text):
        if escaped or (quoted and sign == "\\"):
            escaped = not escaped
        elif sign == '"':
            quoted = not quoted
        elif not quoted:
            depth += (sign in "[(") - (sign in "])")
            if sign == separator and depth == 0:
                parts.append(text[start:position])
                start = position + 1
    parts.append(text[start:])
    return parts


def parse_parameters(text: str) -> tuple[str, dict[str, Any]]:
    """Return the name and the parameters of ``name:key=value,key=value``.

    Examples
    --------
    >>> parse_parameters("disk:radius=1.5")
    ('disk', {'radius': 1.5})
    """
    name, _, rest = text.strip().partition(":")
    parameters: dict[str, Any] = {}
    for item in _split(rest, ",") if rest.strip() else []:
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise ArgumentError(
                f"{text.strip()!r}: parameters are written key=value, separated by commas; got {item!r}"
            )
        if key.strip() in parameters:
            raise ArgumentError(f"{text.strip()!r}: {key.strip()} is given twice")
        parameters[key.strip()] = _parsed(value.strip())
    return name.strip(), parameters


def parse_parts(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the names and parameters of operations separated by ``|``.

    Examples
    --------
    >>> parse_parts("mean:size=3 | sobel")
    [('mean', {'size': 3}), ('sobel', {})]
    """
    return [parse_parameters(part) for part in _split(text, "|")]
