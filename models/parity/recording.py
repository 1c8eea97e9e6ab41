"""A recording: `NAME.npz` with inputs and official results, and `NAME.spec.json` that says how it was made."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from umd_engine.errors import CorruptFileError, MissingFileError
from umd_engine.models.parity import recipe


@dataclass(frozen=True)
class Recording:
    """One recording; everything a check needs comes from the spec and the arrays it names."""

    path: Path
    spec: dict[str, Any]

    @property
    def name(self) -> str:
        return self.path.name.removesuffix(".spec.json")

    @property
    def model(self) -> str:
        return str(self.spec["model"])

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        path = self.path.with_name(f"{self.name}.npz")
        try:
            with np.load(path, allow_pickle=False) as stored:
                return {key: stored[key] for key in stored}
        except FileNotFoundError:
            raise MissingFileError("no such file", where=path, mend="a recording is a spec and an npz") from None
        except (ValueError, zipfile.BadZipFile, OSError) as error:
            raise CorruptFileError(f"not a readable npz: {error}", where=path, mend="copy it again") from None

    def image(self) -> np.ndarray:
        """The input, float32: stored, or made by a recipe, then `times` and `plus`."""
        said = self.spec["image"]
        if "stored" in said:
            image = self.stored(said["stored"])
        else:
            make = {"volume": recipe.volume, "normal": recipe.normal}
            kind = next((k for k in make if k in said), None)
            if kind is None:
                raise CorruptFileError(f"unknown image recipe {sorted(said)}", where=self.path)
            seed, name, shape = said[kind]
            image = make[kind](seed, name, tuple(shape))
        if "times" in said or "plus" in said:
            image = image * np.float32(said.get("times", 1)) + np.float32(said.get("plus", 0))
        return image.astype(np.float32)

    def stored(self, name: str) -> np.ndarray:
        try:
            return self.arrays[name]
        except KeyError:
            raise CorruptFileError(f"the npz lacks '{name}'", where=self.path, mend="copy it again") from None


def find_recordings(folder: Path) -> list[Recording]:
    """All recordings of a folder, by name.

    Raises:
        MissingFileError: no folder, or none in it.
        CorruptFileError: a spec that is no JSON object with a model.
    """
    paths = sorted(folder.glob("*.spec.json"))
    if not paths:
        raise MissingFileError("no *.spec.json", where=folder, mend="name a folder of recordings")
    recordings = []
    for path in paths:
        try:
            spec = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise CorruptFileError(f"not JSON: {error}", where=path, mend="copy it again") from None
        if not isinstance(spec, dict) or "model" not in spec:
            raise CorruptFileError("a spec is a JSON object with a 'model'", where=path, mend="copy it again")
        recordings.append(Recording(path, spec))
    return recordings
