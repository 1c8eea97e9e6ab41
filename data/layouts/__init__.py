"""Layouts that a manifest can be made of: a list you can read, one module a layout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from umd_engine.data.labelset import load_label_set, write_label_set
from umd_engine.data.layouts.amos import import_amos
from umd_engine.data.layouts.autopet import import_autopet
from umd_engine.data.layouts.bids import import_bids
from umd_engine.data.layouts.common import Imported, ImportOptions, LeftOut, label_set_beside
from umd_engine.data.layouts.cvpr25 import import_cvpr25
from umd_engine.data.layouts.dicom import import_dicom
from umd_engine.data.layouts.enhance_pet import import_enhance_pet
from umd_engine.data.layouts.flare import import_flare
from umd_engine.data.layouts.msd import import_msd
from umd_engine.data.layouts.nnunet import import_nnunet
from umd_engine.data.layouts.plain import import_plain
from umd_engine.data.layouts.totalsegmentator import import_totalsegmentator
from umd_engine.data.manifest import ScanRow, write_manifest
from umd_engine.data.nifti import read_header
from umd_engine.data.progress import Watch
from umd_engine.errors import DataError, OptionError, UnknownNameError

__all__ = ["LAYOUTS", "ImportOptions", "Imported", "Layout", "LeftOut", "import_layout"]


@dataclass(frozen=True)
class Layout:
    """How a folder becomes rows.

    Attributes:
        read: (folder, options, manifest, watch) -> what was found; it does not write the manifest.
        takes: the options it has a use for, beside the cohort.
    """

    read: Callable[[Path, ImportOptions, Path, Watch], Imported]
    takes: tuple[str, ...] = ()


LAYOUTS: dict[str, Layout] = {
    "plain": Layout(import_plain, ("modality", "unit", "label_set")),
    "nnunet": Layout(import_nnunet, ("channels",)),
    "msd": Layout(import_msd, ("modality", "unit")),
    "totalsegmentator": Layout(import_totalsegmentator),
    "amos22": Layout(import_amos),
    "flare22": Layout(import_flare),
    "autopet": Layout(import_autopet),
    "enhance-pet": Layout(import_enhance_pet, ("converted",)),
    "cvpr25": Layout(import_cvpr25, ("label_set", "converted")),
    "bids": Layout(import_bids, ("unit", "label_set")),
    "dicom": Layout(import_dicom, ("converted",)),
}


def import_layout(
    layout: str,
    folder: str | Path,
    out: str | Path,
    options: ImportOptions | None = None,
    watch: Watch = lambda done, total: None,
) -> Imported:
    """Write the manifest of a folder's scans to `out`, and a label set of their own beside it as NAME.labels.json.

    Nothing is written into `folder`. The manifest comes last: where it is missing, the import did not end.

    Args:
        layout: one of `LAYOUTS`.
        out: the manifest, .csv or .parquet.
        options: default: those of ImportOptions.
        watch: called with (done, total) where an import takes long.

    Raises:
        UnknownNameError: no such layout. DataError, OptionError: what is wrong with the folder or the options,
            a manifest that exists, or another label set beside it.
    """
    if layout not in LAYOUTS:
        raise UnknownNameError("layout", layout, LAYOUTS)
    options = options or ImportOptions()
    options.check(layout, LAYOUTS[layout].takes)
    out = Path(out)
    if out.exists():
        raise OptionError("it exists", where=out, mend="name another file or remove it")
    found = LAYOUTS[layout].read(Path(folder), options, out, watch)
    label_set_path = label_set_beside(out)
    if found.label_set is not None:
        if label_set_path.exists() and load_label_set(label_set_path) != found.label_set:
            fault = "it exists with other labels"
            raise OptionError(fault, where=label_set_path, mend="name another file or remove it")
        write_label_set(label_set_path, found.label_set)
    found = replace(found, rows=[_marked(row) for row in found.rows])
    write_manifest(out, found.rows)
    return found


def _marked(row: ScanRow) -> ScanRow:
    """The row, synthetic if its image's header says so."""
    try:
        synthetic = read_header(row.images[0]).synthetic
    except DataError:  # a missing or damaged file becomes its row's status
        return row
    return row.model_copy(update={"synthetic": synthetic})
