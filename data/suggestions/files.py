"""Mends for files that are missing or cannot be read as NIfTI."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

import numpy as np
from nibabel.nifti1 import Nifti1Header

from umd_engine.data.gzip_stream import ByteStream
from umd_engine.data.manifest import ScanRow
from umd_engine.data.nifti_header import HEADER_BYTES
from umd_engine.data.suggestions.advice import Advice, Table
from umd_engine.data.table import BETWEEN
from umd_engine.errors import CorruptFileError, DataError, GeometryError, MissingFileError

DICOM_MAGIC = 128  # bytes before it
# What a file that is no NIfTI begins with.
BEGINNINGS = {
    b"version https://git-lfs": "it is a git-lfs pointer: fetch the data with git lfs pull",
    b"/annex/objects": "it is a git-annex pointer: fetch the data with git annex get",
    b"<!DOCTYPE": "it is a web page: the download failed, repeat it",
    b"<html": "it is a web page: the download failed, repeat it",
    b"NRRD": "it is an NRRD file: convert it, e.g. with SimpleITK.WriteImage(SimpleITK.ReadImage(...), 'X.nii.gz')",
    b"\x89HDF": "it is an HDF5 file: convert it to NIfTI",
    b"PK\x03\x04": "it is a zip archive: unpack it",
}


def advise_missing(error: MissingFileError, line: int, row: ScanRow, table: Table) -> Advice | None:
    """The file that was meant: another ending or case, a path from elsewhere, a name nearly the same."""
    path = Path(error.where or "")
    place = _cell_of(path, row, line, table)
    if place is None:
        return None
    column, entry = place
    if path.is_dir():
        return Advice(f"{entry} is a folder: name a file in it")
    taken = {other for one in table.rows.values() for other in (*one.images, one.label) if other is not None}
    found = _twin(path) or _from_here(entry) or _in_near_folder(path) or _near(path, taken)
    if found is None:
        return None
    text = _as_written(found, entry, table)
    cell = BETWEEN.join(text if name == entry else name for name in _entries(table, line, column))
    return Advice(f"there is {text}: set {column} to {cell} in line {line} if it is meant", {column: cell})


def _entries(table: Table, line: int, column: str) -> list[str]:
    text = table.cell(line, column)
    return [name.strip() for name in text.split(BETWEEN)] if column == "image" else [text]


def _cell_of(path: Path, row: ScanRow, line: int, table: Table) -> tuple[str, str] | None:
    """The column and the entry that name `path`."""
    if path in row.images:
        return "image", _entries(table, line, "image")[row.images.index(path)]
    for column, named in (("label", row.label), ("label_set", row.label_set)):
        if named is not None and Path(named) == path:
            return column, table.cell(line, column)
    return None


def _twin(path: Path) -> Path | None:
    """The same name but for .nii and .nii.gz or capitals."""
    plain = _plain(path.name)
    twins = [other for other in _siblings(path) if _plain(other.name) == plain]
    return twins[0] if len(twins) == 1 else None


def _plain(name: str) -> str:
    return name.lower().removesuffix(".gz").removesuffix(".nii")


def _siblings(path: Path) -> list[Path]:
    try:
        return sorted(other for other in path.parent.iterdir() if other.is_file() and not other.name.startswith("."))
    except OSError:  # no such folder, or none of the user's
        return []


def _from_here(entry: str) -> Path | None:
    """A path that was written from the folder where the command runs instead of the manifest's."""
    path = Path.cwd() / entry
    return path if path.is_file() else None


def _in_near_folder(path: Path) -> Path | None:
    """The rest of the path below a folder that is called nearly as the one that is missing."""
    missing = next((part for part in reversed(path.parents) if not part.exists()), None)
    if missing is None:
        return None
    rest = path.relative_to(missing)
    folders = {one.name.lower(): one for one in missing.parent.iterdir() if one.is_dir()}
    for name in difflib.get_close_matches(missing.name.lower(), folders, n=3):
        if (folders[name] / rest).is_file():
            return folders[name] / rest
    return None


def _near(path: Path, taken: set[Path]) -> Path | None:
    """The nearest name that has the same numbers (P003 is not P004) and that no row has."""
    names = {
        other.name: other
        for other in _siblings(path)
        if other not in taken and other.name.endswith(("".join(path.suffixes[-1:]), ".nii", ".nii.gz"))
        and _numbers(other.name) == _numbers(path.name)
    }  # fmt: skip
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.8)
    return names[near[0]] if near else None


def _numbers(name: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", name)]


def _as_written(path: Path, entry: str, table: Table) -> str:
    inside = path.is_relative_to(table.folder) and not Path(entry).is_absolute()
    return str(path.relative_to(table.folder) if inside else path)


def advise_corrupt(error: CorruptFileError, line: int, row: ScanRow, table: Table) -> Advice | None:
    """What the file is instead, by its first bytes."""
    path = Path(error.where or "")
    try:
        with ByteStream(path) as stream:
            block = stream.take(DICOM_MAGIC + 4)
    except DataError:
        return None
    if block[DICOM_MAGIC:] == b"DICM":
        return Advice("it is a DICOM file: convert the folder of its series with dcm2niix -z y")
    return next((Advice(text) for start, text in BEGINNINGS.items() if block.startswith(start)), None)


def advise_header(error: GeometryError) -> Advice | None:
    """What a header that places no volume says elsewhere: its sform the spacing, its qform the affine."""
    try:
        with ByteStream(Path(error.where or "")) as stream:
            block = stream.take(HEADER_BYTES[1])
    except DataError:
        return None
    if len(block) < HEADER_BYTES[1] or int(np.frombuffer(block[:4], "<i4")[0]) != HEADER_BYTES[1]:
        return None
    header = Nifti1Header(block, endianness="<", check=False)
    pixdim, affine = header["pixdim"][1:4], header.get_sform()
    if not (np.isfinite(pixdim).all() and (pixdim > 0).all()):
        sizes = np.linalg.norm(affine[:3, :3], axis=0)
        if header["sform_code"] > 0 and np.isfinite(sizes).all() and (sizes > 0).all():
            return Advice(f"its sform says {_mm(sizes)}: set pixdim[1:4] to that")
        if np.isfinite(pixdim).all() and pixdim.all():
            return Advice(f"set pixdim[1:4] to {_mm(abs(pixdim))}")
    elif header["sform_code"] > 0 and header["qform_code"] > 0 and _singular(affine):
        return Advice("its qform places the voxels: set sform_code to 0")
    return None


def _mm(sizes: np.ndarray) -> str:
    return " x ".join(f"{size:g}" for size in sizes) + " mm"


def _singular(affine: np.ndarray) -> bool:
    return not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-6
