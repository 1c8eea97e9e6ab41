"""Label sets: which ids of a label map mean which organ."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from umd_engine.data.atomic import atomic_file
from umd_engine.data.remote import read_bytes
from umd_engine.data.words import unknown_ids
from umd_engine.errors import LabelError, ManifestError, MissingFileError, UnknownNameError

LABEL_SETS = (
    "umd13",
    "totalsegmentator-v1-104",
    "totalsegmentator-v2-117",
    "totalsegmentator-mr-50",
    "amos22",
    "flare22",
)
BACKGROUND = "background"
MAX_ID = 65535
_BUILT_IN = Path(__file__).parent / "label_sets"
_CHUNK = 1 << 20


@dataclass(frozen=True)
class LabelSet:
    """Names of the ids of a label map; 0 is the background and has no name here.

    Attributes:
        ids: organ -> its ids. Several ids are one organ made of parts (a lung of its lobes), and two organs may
            share ids (a tumour and its core).
    """

    name: str
    ids: dict[str, tuple[int, ...]] = field(hash=False)

    @property
    def known(self) -> frozenset[int]:
        """Every id that has a name."""
        return frozenset(i for ids in self.ids.values() for i in ids)

    def check(self, voxels: np.ndarray, where: Path | None) -> None:
        """Check that each voxel is background or has a name.

        Args:
            voxels: integers of any shape.
            where: the label map's file.

        Raises:
            LabelError: ids outside the set.
        """
        unknown = sorted(set(found_ids(voxels)) - self.known - {0})
        if unknown:
            raise LabelError(
                unknown_ids(unknown, self.name),
                where=where,
                mend="name the label set that the file was made with, or add the ids to it",
            )


def found_ids(voxels: np.ndarray) -> list[int]:
    """The ids that occur, ascending; of uint8 and uint16 without a sort."""
    if voxels.dtype not in (np.uint8, np.uint16):
        return [int(i) for i in np.unique(voxels)]
    found = np.zeros(MAX_ID + 1, bool)
    flat = voxels.ravel(order="K")
    for start in range(0, flat.size, _CHUNK):
        found[flat[start : start + _CHUNK].astype(np.intp)] = True
    return [int(i) for i in np.flatnonzero(found)]


def is_label_set_file(name_or_path: str | Path) -> bool:
    """Whether it is meant as a path: it ends in .json or names a folder."""
    return isinstance(name_or_path, Path) or name_or_path.endswith(".json") or "/" in name_or_path


def load_label_set(name_or_path: str | Path) -> LabelSet:
    """A label set that comes with the package, by its name, or one of your own from a JSON file.

    The file holds `{"name": "...", "labels": {"liver": 1, "lung": [2, 3]}}`, a "source" too if you like, or just
    the labels.

    Raises:
        UnknownNameError: no built-in set has the name. MissingFileError: no such file.
        ManifestError: the file is no label set.
    """
    if is_label_set_file(name_or_path):
        return _read(Path(name_or_path))
    if name_or_path not in LABEL_SETS:
        raise UnknownNameError("label set", str(name_or_path), LABEL_SETS)
    return _read(_BUILT_IN / f"{name_or_path}.json")


def write_label_set(path: Path, label_set: LabelSet) -> None:
    """Write a label set as JSON; organs of one id hold a number.

    Raises:
        ManifestError: the folder is not writable.
    """
    labels = {organ: ids[0] if len(ids) == 1 else list(ids) for organ, ids in label_set.ids.items()}
    lines = ",\n".join(f"  {json.dumps(organ)}: {json.dumps(ids)}" for organ, ids in labels.items())
    text = f'{{"name": {json.dumps(label_set.name)}, "labels": {{\n{lines}\n}}}}\n'
    try:
        with atomic_file(path) as file:
            file.write(text.encode())
    except OSError as error:
        raise ManifestError(f"cannot write: {error.strerror}", where=path, mend="check the folder") from None


def parse_labels(labels: Any, where: Path) -> dict[str, tuple[int, ...]]:
    """Organ -> ids from a JSON object of numbers and lists of numbers; "background": 0 is left out.

    Raises:
        ManifestError: not such an object, an empty one, or ids outside 1..65535.
    """
    if not isinstance(labels, dict):
        raise _bad("the labels are no JSON object of names and ids", where)
    ids = {organ: _ids(organ, value, where) for organ, value in labels.items() if not _is_background(organ, value)}
    if not ids:
        raise _bad("no organ is named", where)
    return ids


def _is_background(organ: str, value: Any) -> bool:
    return organ == BACKGROUND and value == 0 and not isinstance(value, bool)


def _ids(organ: str, value: Any, where: Path) -> tuple[int, ...]:
    if not organ or organ != organ.strip() or "," in organ:
        raise _bad(f"the name {organ!r} is empty, or has a comma or blanks around it", where)
    ids = value if isinstance(value, list) else [value]
    if not ids or not all(type(i) is int and 1 <= i <= MAX_ID for i in ids):
        raise _bad(f"'{organ}' has {json.dumps(value)}, not an id from 1 to {MAX_ID} or a list of them", where)
    if len(set(ids)) < len(ids):
        raise _bad(f"'{organ}' names an id twice", where)
    return tuple(ids)


def _read(path: Path) -> LabelSet:
    content = read_json(path)
    if not isinstance(content, dict):
        raise _bad("not a JSON object", path)
    if not isinstance(content.get("labels"), dict):
        return LabelSet(path.stem, parse_labels(content, path))
    if extra := sorted(set(content) - {"name", "source", "labels"}):
        raise _bad(f"unknown keys {', '.join(extra)} beside 'labels'", path)
    name = content.get("name", path.stem)
    if not isinstance(name, str) or not name:
        raise _bad("the name is no text", path)
    return LabelSet(name, parse_labels(content["labels"], path))


def read_json(path: Path) -> Any:
    """A JSON file whose objects name no key twice.

    Raises:
        MissingFileError, ManifestError.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            raise _bad(f"{', '.join(map(repr, twice))} occurs twice", path)
        return dict(pairs)

    try:
        return json.loads(read_bytes(path).decode("utf-8"), object_pairs_hook=unique)
    except FileNotFoundError:
        raise MissingFileError("no such file", where=path, mend="check the path") from None
    except OSError as error:
        raise ManifestError(f"cannot read: {error.strerror}", where=path, mend="check its permissions") from None
    except ValueError as error:  # JSON and UTF-8 faults
        raise ManifestError(f"not a JSON file: {error}", where=path, mend="mend or write it again") from None


def _bad(fault: str, where: Path) -> ManifestError:
    return ManifestError(fault, where=where, mend='write {"name": "...", "labels": {"liver": 1, "lung": [2, 3]}}')
