"""`fetched.json`: what was downloaded into a model's folder, from where, with which hashes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from umd_engine.data.atomic import atomic_file
from umd_engine.errors import CheckpointError
from umd_engine.models.catalog.folder import sha256_of

NAME = "fetched.json"


@dataclass(frozen=True)
class Record:
    """A download that is over.

    Attributes:
        asked: the revision that was asked for: a branch, a tag or a commit.
        revision: the commit that it was.
        fetched: when, ISO 8601, UTC.
        files: path relative to the record's folder -> `source` (path in the repository), `size` (bytes), `sha256`.
    """

    model: str
    repository: str
    asked: str
    revision: str
    endpoint: str
    fetched: str
    files: Mapping[str, Mapping[str, Any]]

    def write(self, folder: Path) -> None:
        with atomic_file(folder / NAME) as file:
            file.write(json.dumps(asdict(self), indent=1).encode() + b"\n")

    def state(self, folder: Path) -> dict[str, str]:
        """Each file: "as recorded", "missing" or "changed". Every byte is read."""
        return {name: _state(folder / name, wanted["sha256"]) for name, wanted in self.files.items()}


def read_record(folder: Path) -> Record | None:
    """The record in a model's folder; None where there is none.

    Raises:
        CheckpointError: it is damaged.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        record = Record(**json.loads(path.read_text(encoding="utf-8")))
        if all(isinstance(file["sha256"], str) for file in record.files.values()):
            return record
        fault = "a hash is no text"
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        fault = f"{type(error).__name__}: {error}"
    raise CheckpointError(f"not a record of a download ({fault})", where=path, mend="remove it and fetch again")


def recorded_hash(path: Path) -> str | None:
    """The hash that a record has for `path`: the nearest of those in its folder and in the two above."""
    for folder in (path.parent, path.parent.parent, path.parent.parent.parent):
        if (record := read_record(folder)) is not None:
            found = record.files.get(path.relative_to(folder).as_posix())
            return str(found["sha256"]) if found else None
    return None


def _state(path: Path, wanted: str) -> str:
    if not path.is_file():
        return "missing"
    return "as recorded" if sha256_of(path) == wanted else "changed"
