"""A protocol's options from texts of the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from umd_engine.errors import OptionError, UnknownNameError


def parse_options(kind: type, settings: Mapping[str, str], where: str) -> Any:
    """An options dataclass from texts.

    Raises:
        UnknownNameError: no such option. OptionError: a value of another type.
    """
    defaults = {field.name: field.default for field in fields(kind)}
    values: dict[str, Any] = {}
    for name, text in settings.items():
        if name not in defaults:
            raise UnknownNameError("option", name, defaults, where=where)
        values[name] = _convert(text, type(defaults[name]), f"{where}.{name}")
    return kind(**values)


def _convert(text: str, kind: type, where: str) -> Any:
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise OptionError(f"'{text}' is neither true nor false", where=where)
        return text.lower() == "true"
    try:
        return kind(text)
    except ValueError:
        raise OptionError(f"'{text}' is not a {kind.__name__}", where=where) from None
