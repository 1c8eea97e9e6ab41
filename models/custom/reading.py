"""A description file, read and checked."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from umd_engine.errors import MissingFileError, ModelError
from umd_engine.models.custom import description as parts
from umd_engine.models.custom.description import Description

ENDINGS = (".yaml", ".yml")
LONGEST = 1 << 20  # bytes; a description has a few thousand


def read_description(path: Path) -> Description:
    """The description in a YAML file.

    Raises:
        MissingFileError: no such file. ModelError: no YAML, an unknown key, a value that does not fit.
    """
    return as_description(_loaded(path), path)


def as_description(content: Any, where: Path) -> Description:
    """A checked description of what a file says.

    Raises:
        ModelError: names the first key that is wrong and how many more are.
    """
    if not isinstance(content, Mapping):
        raise ModelError("no description: it holds no keys", where=where, mend="start from umd-engine models new")
    try:
        return Description.model_validate(content)
    except ValidationError as error:
        raise _explained(error, where) from None


def parse_yaml(text: str) -> Any:
    """What a YAML text says; plain values alone.

    Raises:
        ValueError: no YAML.
    """
    import yaml  # type: ignore[import-untyped]

    try:
        return yaml.safe_load(text)
    except Exception as error:  # its constructors raise whatever comes, e.g. of !!int ''
        first = str(error).splitlines() or [""]
        raise ValueError(first[0][:120] or type(error).__name__) from None


def _loaded(path: Path) -> Any:
    if not path.is_file():
        raise MissingFileError("no such description", where=path, mend="write one with umd-engine models new")
    if path.stat().st_size > LONGEST:
        raise ModelError("too long for a description", where=path, mend="give the YAML file, not the network")
    try:
        return parse_yaml(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"not YAML: {error}", where=path, mend="check the file's indentation and quotes") from None


def _explained(error: ValidationError, where: Path) -> ModelError:
    faults = error.errors(include_url=False)
    first = faults[0]
    place = ".".join(str(step) for step in first["loc"])
    more = f"; {len(faults) - 1} more after it" if len(faults) > 1 else ""
    if first["type"] == "extra_forbidden":
        key = str(first["loc"][-1])
        near = difflib.get_close_matches(key, sorted(_known_keys()), n=1)
        mend = f"did you mean {near[0]}?" if near else "docs/custom.md lists the keys"
        return ModelError(f"unknown key '{place}'{more}", where=where, mend=mend)
    message = first["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    at = f"{place}: " if place else ""
    return ModelError(f"{at}{message}{more}", where=where, mend="see umd-engine models new, or docs/custom.md")


def _known_keys() -> set[str]:
    models = [kind for kind in vars(parts).values() if isinstance(kind, type) and issubclass(kind, parts.Strict)]
    return {name for kind in models for name in kind.model_fields}
