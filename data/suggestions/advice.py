"""What a suggestion is, and the manifest that it is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from umd_engine.data.labelset import LABEL_SETS, is_label_set_file, load_label_set
from umd_engine.data.manifest import ScanRow, parse_manifest
from umd_engine.data.remote import absolute
from umd_engine.data.table import read_table
from umd_engine.errors import DataError, UnknownNameError


@dataclass(frozen=True)
class Advice:
    """How to mend one fault.

    Attributes:
        text: one sentence without a full stop.
        cells: column -> text, where a change of the manifest's line is all that it takes.
    """

    text: str
    cells: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A manifest as it is written, and its sound rows.

    Attributes:
        records: the cells of each line.
        rows: of the lines whose cells hold together.
        deep: whether a suggestion may read voxels.
    """

    path: Path
    columns: Sequence[str]
    records: Mapping[int, Mapping[str, str]]
    rows: Mapping[int, ScanRow]
    deep: bool = True

    @property
    def folder(self) -> Path:
        """What relative paths start at."""
        return absolute(self.path.parent)

    def cell(self, line: int, column: str) -> str:
        return (self.records[line].get(column) or "").strip()

    def fitting_label_sets(self, ids: set[int]) -> list[str]:
        """The label sets that have every id, as a cell names them: those of other rows first, then built-in ones."""
        used = dict.fromkeys(self.cell(line, "label_set") for line in self.rows)
        return [name for name in dict.fromkeys([*filter(None, used), *LABEL_SETS]) if self._fits(name, ids)]

    def _fits(self, name: str, ids: set[int]) -> bool:
        try:
            known = load_label_set(self.folder / name if is_label_set_file(name) else name).known
        except (DataError, UnknownNameError):  # a fault of its own
            return False
        return ids <= known


def read_whole_table(path: str | Path, deep: bool = True) -> Table:
    """The manifest for suggestions.

    Raises:
        MissingFileError, ManifestError: it cannot be read as a table.
    """
    columns, records = read_table(Path(path))
    rows, _ = parse_manifest(path)
    return Table(Path(path), columns, dict(records), dict(rows), deep)


def change(column: str, text: str, line: int) -> str:
    """The words for a change of one cell."""
    return f"set {column} to {text} in line {line}" if text else f"leave {column} empty in line {line}"
