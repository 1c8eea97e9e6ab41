"""The models, a list you can read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from umd_engine.errors import MissingFileError, OptionError, UnknownNameError
from umd_engine.models.model import Model


@dataclass(frozen=True)
class Entry:
    """A model of the catalogue.

    Attributes:
        options: the frozen dataclass of its protocol's options; field defaults are the defaults.
        load: (name in results, path, options) -> the loaded model.
    """

    summary: str
    needs: str
    prompts: str
    options: type
    load: Callable[[str, Path, Any], Model]


def _nnunet() -> Entry:
    from umd_engine.models.nnunet.model import NnUNet
    from umd_engine.models.nnunet.protocol import Options

    return Entry(
        "nnU-Net v2, the task-specific reference (3d_fullres, 3d_lowres)",
        "a trained-model folder: plans.json, dataset.json, fold_*/checkpoint_final.pth",
        "none",
        Options,
        NnUNet,
    )


CATALOG: Mapping[str, Callable[[], Entry]] = {"nnunet": _nnunet}


def entry(name: str) -> Entry:
    """The catalogue's entry.

    Raises:
        UnknownNameError: suggests the nearest names.
    """
    if name not in CATALOG:
        raise UnknownNameError("model", name, CATALOG)
    return CATALOG[name]()


@dataclass(frozen=True)
class Request:
    """A model as asked for on the command line: `NAME[@ALIAS]=PATH`.

    `title` is how results name it: the alias tells two checkpoints of one architecture apart.
    """

    name: str
    title: str
    path: Path

    @classmethod
    def parse(cls, text: str) -> Request:
        """Parse `nnunet=FOLDER` or `nnunet@ct=FOLDER`.

        Raises:
            OptionError, UnknownNameError, MissingFileError.
        """
        title, _, path = text.partition("=")
        name, at, alias = title.partition("@")
        known = entry(name)
        if at and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", alias):
            raise OptionError(f"alias '{alias}' cannot name a folder", mend="use letters, digits, '.', '_' and '-'")
        if not path:
            raise OptionError(f"model '{name}' needs a path: {known.needs}", mend=f"write --model {title}=PATH")
        if not Path(path).exists():
            raise MissingFileError("no such model path", where=path, mend=f"{name} needs {known.needs}")
        return cls(name, title, Path(path))

    def load(self, settings: Mapping[str, str]) -> Model:
        """Load with `settings`: option name -> text, of this model only."""
        known = entry(self.name)
        return known.load(self.title, self.path, parse_options(known.options, settings, self.title))


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
