"""Mends for a manifest's header."""

from __future__ import annotations

import difflib
import re

from umd_engine.data.manifest import COLUMNS, REQUIRED
from umd_engine.data.suggestions.advice import Advice, Table

# Names that tables of scans give these columns.
OTHER_NAMES = {
    "subject": ("patient", "patientid", "subjectid", "case", "caseid", "participantid", "pid"),
    "scan_id": ("id", "scan", "imageid", "seriesid"),
    "image": ("images", "path", "file", "filename", "filepath", "imagepath", "volume", "nifti"),
    "label": ("labels", "mask", "seg", "segmentation", "labelpath", "groundtruth", "gt"),
    "label_set": ("labelmap", "labelset", "classes"),
    "unit": ("units",),
    "cohort": ("dataset", "study", "group"),
    "sex": ("gender",),
    "site": ("institute", "center", "centre", "hospital"),
    "scanner": ("manufacturer", "model"),
}
DELIMITERS = {";": "semicolons", "\t": "tabulators", "|": "bars"}


def advise_columns(message: str, table: Table) -> Advice | None:
    """What to do about the columns that `message` names, or about what separates them."""
    if len(table.columns) == 1:
        for delimiter, noun in DELIMITERS.items():
            if delimiter in table.columns[0]:
                return Advice(f"separate the cells by commas instead of {noun}")
    texts = [_rename(name, new) for name, new in _renames(table).items() if _names(message, name, new)]
    return Advice("; ".join(texts)) if texts else None


def _renames(table: Table) -> dict[str, str | None]:
    """Each unknown column with the known one that it most likely is."""
    free = [column for column in COLUMNS if column not in table.columns]
    found: dict[str, str | None] = {}
    for name in dict.fromkeys(table.columns):
        if name not in COLUMNS:
            found[name] = _nearest(name, free)
            free = [column for column in free if column != found[name]]
    return found


def _nearest(name: str, free: list[str]) -> str | None:
    plain = re.sub(r"[^a-z]", "", name.lower())
    for column in free:
        if plain == column.replace("_", "") or plain in OTHER_NAMES.get(column, ()):
            return column
    near = difflib.get_close_matches(name.lower(), free, n=1)
    return near[0] if near else None


def _names(message: str, name: str, new: str | None) -> bool:
    return repr(name) in message or (new in REQUIRED and re.search(rf"\b{new}\b.* missing", message) is not None)


def _rename(name: str, new: str | None) -> str:
    return f"rename column {name!r} to {new}" if new else f"remove column {name!r}"
