"""Prompts in a JSON file: `clicks export` writes it, `evaluate --replay` gives them again. See docs/prompts.md."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from umd_engine.data.atomic import atomic_file
from umd_engine.data.manifest import ScanRow
from umd_engine.data.volume import Grid
from umd_engine.errors import DataError, MissingFileError
from umd_engine.evaluation.click_rows import ClickRow
from umd_engine.evaluation.prompts.given import BOX, POINT, REPLAYED, TEXT, Given, box_between, point_at

FORMAT = "umd-engine clicks"
MEND = "the format is described in docs/prompts.md"
_Name = Annotated[str, Field(min_length=1)]
_World = tuple[FiniteFloat, FiniteFloat, FiniteFloat]
_Voxel = tuple[int, int, int]
ScanKey = tuple[str, str, str]
Target = tuple[str, int]  # organ, repeat


class BoxEntry(BaseModel):
    """Opposite outer corners in mm; `low` and `high` are its voxels, for readers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    world_low: _World
    world_high: _World
    low: _Voxel | None = None
    high: _Voxel | None = None


class Entry(BaseModel):
    """One prompt: a point (`world`, mm RAS), a box or a text. `voxel` is for readers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cohort: _Name
    subject: _Name
    scan_id: _Name
    organ: _Name
    repeat: Annotated[int, Field(ge=0, lt=2**16)] = 0
    step: Annotated[int, Field(ge=0, lt=1000)] = 0
    world: _World | None = None
    voxel: _Voxel | None = None
    positive: bool = True
    box: BoxEntry | None = None
    text: _Name | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Entry:
        if sum(part is not None for part in (self.world, self.box, self.text)) != 1:
            raise ValueError("give one of world, box and text")
        return self

    @property
    def kind(self) -> str:
        return POINT if self.world is not None else BOX if self.box is not None else TEXT

    def on(self, grid: Grid) -> Given:
        """The prompt on a scan's grid."""
        if self.world is not None:
            return point_at(self.world, grid.affine, REPLAYED, self.positive)
        if self.box is not None:
            return box_between(self.box.world_low, self.box.world_high, grid, REPLAYED)
        return Given(TEXT, REPLAYED, text=self.text or "")


class Document(BaseModel):
    """The whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["umd-engine clicks"]
    version: Literal[1]
    clicks: tuple[Entry, ...]


@dataclass(frozen=True, eq=False)
class Replay:
    """Prompts read from a file.

    Attributes:
        sha256: of the file.
        kinds: of prompts in it.
        scans: scan -> organ and repeat -> the prompts of each step.
    """

    sha256: str
    path: Path
    kinds: frozenset[str]
    repeats: int
    scans: Mapping[ScanKey, Mapping[Target, tuple[tuple[Entry, ...], ...]]]

    def of(self, row: ScanRow) -> Mapping[Target, tuple[tuple[Entry, ...], ...]]:
        """The scan's own prompts, else those of the subject's first other scan; empty where it has none."""
        if row.key in self.scans:
            return self.scans[row.key]
        others = sorted(key for key in self.scans if key[:2] == (row.cohort, row.subject))
        return self.scans[others[0]] if others else {}

    @property
    def organs(self) -> frozenset[str]:
        return frozenset(organ for targets in self.scans.values() for organ, _ in targets)


def read_replay(path: Path) -> Replay:
    """Read and check a file of prompts.

    Raises:
        MissingFileError: no such file. DataError: it is not such a file, or its prompts do not hold together.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise MissingFileError("no such file of clicks", where=path, mend="write it with clicks export") from None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=path, mend="name a file") from None
    try:
        document = Document.model_validate_json(content)
    except ValidationError as error:
        raise DataError(f"not a file of clicks: {_first_fault(error)}", where=path, mend=MEND) from None
    if not document.clicks:
        raise DataError("it holds no clicks", where=path, mend="export a run of a prompted model")
    return Replay(
        hashlib.sha256(content).hexdigest(),
        path,
        frozenset(entry.kind for entry in document.clicks),
        1 + max(entry.repeat for entry in document.clicks),
        _grouped(document.clicks, path),
    )


def write_clicks(path: Path, rows: Iterable[ClickRow]) -> int:
    """Write stored prompts for `--replay`; returns how many.

    Raises:
        DataError: the file cannot be written.
    """
    entries = [_entry(row).model_dump(mode="json", exclude_none=True) for row in rows]
    lines = ",\n".join(json.dumps(entry, allow_nan=False) for entry in entries)
    text = f'{{"format": {json.dumps(FORMAT)}, "version": 1, "clicks": [\n{lines}\n]}}\n'
    try:
        with atomic_file(path) as file:
            file.write(text.encode())
    except OSError as error:
        raise DataError(f"cannot be written: {error.strerror}", where=path, mend="name another file") from None
    return len(entries)


def _entry(row: ClickRow) -> Entry:
    key, given = row.key, row.given
    place: dict[str, Any] = {
        "cohort": key.cohort,
        "subject": key.subject,
        "scan_id": key.scan_id,
        "organ": key.organ,
        "repeat": key.repeat,
        "step": key.step,
    }
    if given.kind == TEXT:
        return Entry(**place, text=given.text)
    assert given.world is not None, row
    if given.kind == POINT:
        return Entry(**place, world=given.world, voxel=given.voxel, positive=given.positive)
    assert given.world_high is not None, row
    box = BoxEntry(world_low=given.world, world_high=given.world_high, low=given.voxel, high=given.high)
    return Entry(**place, box=box, positive=given.positive)


def _grouped(entries: Sequence[Entry], path: Path) -> Mapping[ScanKey, Mapping[Target, tuple[tuple[Entry, ...], ...]]]:
    steps: dict[ScanKey, dict[Target, dict[int, list[Entry]]]] = defaultdict(lambda: defaultdict(dict))
    for entry in entries:
        scan = (entry.cohort, entry.subject, entry.scan_id)
        steps[scan][entry.organ, entry.repeat].setdefault(entry.step, []).append(entry)
    for scan, targets in steps.items():
        for (organ, repeat), found in targets.items():
            if sorted(found) != list(range(len(found))):
                raise DataError(
                    f"{'/'.join(scan)}, {organ}, repeat {repeat}: steps {sorted(found)} leave one out",
                    where=path,
                    mend="steps count from 0 without a gap",
                )
    return {
        scan: {target: tuple(tuple(found[i]) for i in range(len(found))) for target, found in targets.items()}
        for scan, targets in steps.items()
    }


def _first_fault(error: ValidationError) -> str:
    fault, *more = error.errors()
    place = ".".join(str(part) for part in fault["loc"])
    rest = f" and {len(more)} more faults" if more else ""
    return f"{place + ': ' if place else ''}{fault['msg'].removeprefix('Value error, ')}{rest}"
