"""What the catalogue says of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from umd_engine.models.model import Model, PromptedModel
from umd_engine.models.prompts import KINDS

HUB = "https://huggingface.co"


@dataclass(frozen=True)
class HubFile:
    """A published file.

    Attributes:
        pattern: its path in the repository; `*` stands for any text, slashes too.
        size: as its authors' page shows it; empty where unknown.
        below: the folder of the checkpoint folder that it goes to; empty: the model's own.
    """

    pattern: str
    size: str = ""
    below: str = ""


@dataclass(frozen=True)
class Published:
    """Where the authors publish the weights: a model repository of the Hugging Face hub."""

    repository: str
    files: tuple[HubFile, ...]

    @property
    def page(self) -> str:
        return f"{HUB}/{self.repository}"


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint looks like on a disk.

    Attributes:
        places: relative paths in the model's folder, the best first: of the file, or of the folder.
        marker: a file that shows such a folder to be one; empty where the checkpoint is a single file.
        hashed: patterns of the files in such a folder that decide a result.
    """

    places: tuple[str, ...]
    marker: str = ""
    hashed: tuple[str, ...] = ()

    def files(self, path: Path) -> list[Path]:
        """The files of a checkpoint that decide a result; in a folder with single files, each of them."""
        if self.marker:
            return [file for pattern in self.hashed for file in sorted(path.glob(pattern))]
        inside = [path / place for place in self.places if (path / place).is_file()]
        return inside if path.is_dir() else [path]


@dataclass(frozen=True)
class Implementation:
    """A model's code, imported only when it is asked for.

    Attributes:
        options: the frozen dataclass of its protocol's options; field defaults are the defaults.
        load: (name in results, path, options) -> the loaded model.
    """

    options: type
    load: Callable[[str, Path, Any], Model | PromptedModel]


@dataclass(frozen=True)
class Entry:
    """A model of the catalogue.

    Attributes:
        needs: what a path given for it must be.
        prompts: kinds of prompts it takes, of `prompts.KINDS`; empty: it segments all it knows.
        patch: voxels of a network's input, in words.
        spacing: of the voxels that the network sees, in words.
        parameters: part of the network -> how many; empty where the checkpoint decides.
        published: None where no address is known.
        otherwise: where weights come from then, in words.
        code_licence, weights_licence: SPDX names where there is one.
        verified: what was held against other code, and with which weights.
        code: imports the implementation.
    """

    name: str
    summary: str
    needs: str
    prompts: tuple[str, ...]
    patch: str
    spacing: str
    parameters: Mapping[str, int]
    checkpoint: Checkpoint
    published: Published | None
    code_licence: str
    weights_licence: str
    verified: str
    code: Callable[[], Implementation]
    otherwise: str = "everyone trains their own"

    def __post_init__(self) -> None:
        assert set(self.prompts) <= set(KINDS), self.prompts

    @property
    def defaults(self) -> dict[str, Any]:
        """Option -> its default."""
        return {field.name: field.default for field in fields(self.code().options)}
