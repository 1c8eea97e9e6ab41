"""Layouts that a manifest can be made of: a list you can read, one module a layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from umd_engine.data.labelset import LabelSet, load_label_set, write_label_set
from umd_engine.data.layouts.nnunet import import_nnunet
from umd_engine.data.manifest import ScanRow, write_manifest
from umd_engine.errors import OptionError, UnknownNameError

# (folder, cohort, modality of each channel or None, where the label set will lie) -> rows, label set
Importer = Callable[[Path, str, dict[int, str] | None, Path], tuple[list[ScanRow], LabelSet]]

LAYOUTS: dict[str, Importer] = {
    "nnunet": import_nnunet,
}


def import_layout(
    layout: str,
    folder: str | Path,
    out: str | Path,
    cohort: str = "petct",
    channels: dict[int, str] | None = None,
) -> list[ScanRow]:
    """Write the manifest of a folder's scans to `out`, and their label set beside it as NAME.labels.json.

    Args:
        layout: one of `LAYOUTS`.
        out: the manifest, .csv or .parquet.
        cohort: of every row.
        channels: modality (ct, mr, pet) of each channel that is a scan of its own; without it the channels of a
            case are the images of one scan.

    Raises:
        UnknownNameError: no such layout. DataError, OptionError: what is wrong with the folder or the channels,
            a manifest that exists, or another label set beside it.
    """
    if layout not in LAYOUTS:
        raise UnknownNameError("layout", layout, LAYOUTS)
    out = Path(out)
    if out.exists():
        raise OptionError("it exists", where=out, mend="name another file or remove it")
    label_set_path = out.parent.resolve() / f"{out.stem}.labels.json"
    rows, label_set = LAYOUTS[layout](Path(folder), cohort, channels, label_set_path)
    if label_set_path.exists() and load_label_set(label_set_path) != label_set:
        raise OptionError("it exists with other labels", where=label_set_path, mend="name another file or remove it")
    write_manifest(out, rows)
    write_label_set(label_set_path, label_set)
    return rows
