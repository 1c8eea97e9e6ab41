"""A model as asked for on the command line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from umd_engine.errors import MissingFileError, OptionError
from umd_engine.models.catalog.entries import entry
from umd_engine.models.catalog.folder import own_checkpoint
from umd_engine.models.catalog.options import parse_options
from umd_engine.models.catalog.own import kind_of, title_of
from umd_engine.models.model import Model, PromptedModel


@dataclass(frozen=True)
class Request:
    """A model as asked for: `NAME[@ALIAS][=PATH]`, or the path of one's own.

    `title` is how results name it: the alias tells two checkpoints of one architecture apart.
    """

    name: str
    title: str
    path: Path

    @classmethod
    def parse(cls, text: str) -> Request:
        """Parse `nnunet=FOLDER`, `nnunet@ct=FOLDER`, or a name alone: its checkpoint is in the checkpoint folder.

        The path of a description (`my.yaml`) or of a MONAI bundle's folder says itself what it is.

        Raises:
            OptionError, UnknownNameError, MissingFileError.
        """
        if (kind := kind_of(text)) is not None:
            return cls(kind, title_of(Path(text)), Path(text))
        title, equals, path = text.partition("=")
        name, at, alias = title.partition("@")
        known = entry(name)
        if at and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", alias):
            raise OptionError(f"alias '{alias}' cannot name a folder", mend="use letters, digits, '.', '_' and '-'")
        if not equals:
            return cls(name, title, own_checkpoint(known))
        if not path:
            raise OptionError(f"no path after '{text}'", mend=f"write {title}=PATH, {known.needs}")
        if not Path(path).exists():
            raise MissingFileError("no such model path", where=path, mend=f"{name} needs {known.needs}")
        return cls(name, title, Path(path))

    @property
    def takes_trust(self) -> bool:
        """Whether its files may need --trust to be opened."""
        return "trust" in entry(self.name).defaults

    def load(self, settings: Mapping[str, str]) -> Model | PromptedModel:
        """Load with `settings`: option name -> text, of this model only."""
        code = entry(self.name).code()
        return code.load(self.title, self.path, parse_options(code.options, settings, self.title))
