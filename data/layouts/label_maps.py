"""Label maps that an import makes of binary masks, beside the manifest: several scans at once, none twice."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from umd_engine.data.atomic import atomic_file
from umd_engine.data.labelset import read_json
from umd_engine.data.layouts.common import LeftOut
from umd_engine.data.layouts.converted import in_threads
from umd_engine.data.layouts.masks import is_current, merge_masks
from umd_engine.data.nifti import read_header, write_labels
from umd_engine.data.progress import Watch
from umd_engine.errors import DataError, OptionError

MADE_FROM = "made_from.json"


@dataclass(frozen=True)
class Merging:
    """What one label map is made of: a scan and its masks by id (1 to 255)."""

    case: str
    image: Path
    masks: Mapping[int, Path]
    target: Path


@dataclass(frozen=True)
class Merged:
    """A label map that is there. `shared` of its voxels lie in more than one mask; 0 if it was there before."""

    case: str
    shared: int


def claim(target: Path, made_from: dict[str, Any]) -> None:
    """Say in the folder `target` what its label maps are made from, unless it says the same already.

    Raises:
        OptionError: it says something else, or holds other files. DataError: it cannot be written to.
    """
    path = target / MADE_FROM
    if path.exists():
        if read_json(path) != made_from:
            fault = "its label maps were made from another data set or other classes"
            raise OptionError(fault, where=target, mend="name another manifest or remove the folder")
        return
    if target.exists() and not (target.is_dir() and all(file.name.startswith(".") for file in target.iterdir())):
        raise OptionError("it exists and is no import's", where=target, mend="name another manifest or remove it")
    try:
        with atomic_file(path) as file:
            file.write(json.dumps(made_from, indent=1).encode())
    except OSError as error:
        raise DataError(f"cannot write: {error.strerror}", where=path, mend="check the folder") from None


def merge_all(work: Sequence[Merging], watch: Watch) -> Iterator[Merged | LeftOut]:
    """Each outcome, in order; a case whose files are damaged is left out.

    Raises:
        DataError: the target cannot be written to, the disk is full.
    """
    yield from in_threads(_merge, work, watch)


def _merge(work: Merging) -> Merged | LeftOut:
    if is_current(work.target, work.image, work.masks):
        return Merged(work.case, 0)
    try:
        header = read_header(work.image)
        labels, shared = merge_masks(header, work.masks)
    except DataError as error:
        return LeftOut(work.case, error)
    write_labels(work.target, labels, header)
    return Merged(work.case, shared)
