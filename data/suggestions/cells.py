"""Mends for a manifest's line whose cells do not hold together."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable

from umd_engine.data.labelset import LABEL_SETS, is_label_set_file
from umd_engine.data.layouts.common import UNIT_OF, guess_modality
from umd_engine.data.manifest import OPTIONAL, UNITS, YES
from umd_engine.data.suggestions.advice import Advice, Table, change
from umd_engine.data.suggestions.labels import label_ids
from umd_engine.data.suggestions.units import fits_unit
from umd_engine.data.table import BETWEEN

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
UNIT_WORDS = {
    "hu": "HU",
    "hounsfield": "HU",
    "suv": "SUV",
    "suvbw": "SUV",
    "bqml": "Bq/mL",
    "none": "none",
    "au": "none",
}
AGE = re.compile(r"0*(\d{1,3}(?:[.,]\d+)?)\s*(?:y|yr|yrs|years?|a)?", re.IGNORECASE)  # DICOM writes 045Y
NOTHING = ("na", "n/a", "nan", "none", "unknown", "?", "-")
YES_WORDS, NO_WORDS = ("yes", "y", "true", "1"), ("no", "n", "false", "0")


def advise_row(line: int, table: Table) -> Advice | None:
    """Every cell that is wrong in itself; else the line that this one repeats."""
    if None in table.records[line] or None in table.records[line].values():
        return _advise_length(line, table)
    cells: dict[str, str] = {}
    for find in FINDERS:
        cells |= find(line, table, cells)
    if cells:
        texts = [change(column, text, line) for column, text in cells.items()]
        return Advice("; ".join(texts), cells)
    return _advise_repeated(line, table)


def _advise_length(line: int, table: Table) -> Advice | None:
    record = table.records[line]
    if None in record:
        held = len(table.columns) + len(record[None])  # type: ignore[index]
        return Advice(
            f"line {line} has {held} cells for {len(table.columns)} columns: "
            "put a cell that holds a comma between double quotes"
        )
    short = [column for column, text in record.items() if text is None]
    if any(column not in OPTIONAL for column in short):
        return None
    return Advice(f"end line {line} with {len(short)} more comma{'s' * (len(short) > 1)}", dict.fromkeys(short, ""))


def _ids(line: int, table: Table, found: dict[str, str]) -> dict[str, str]:
    cells = {}
    for column in ("cohort", "subject", "scan_id"):
        text = table.cell(line, column)
        name = _clean(text)
        others = {table.cell(other, column) for other in table.records} - {text}
        # two patients must not become one
        if not ID.fullmatch(text) and ID.fullmatch(name) and name not in map(_clean, others):
            cells[column] = name
    return cells


def _clean(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._-")[:120]


def _modality(line: int, table: Table, found: dict[str, str]) -> dict[str, str]:
    text = table.cell(line, "modality")
    if text in UNITS or (guess := guess_modality(text)) is None:
        return {}
    return {"modality": guess}


def _unit(line: int, table: Table, found: dict[str, str]) -> dict[str, str]:
    modality = found.get("modality", table.cell(line, "modality"))
    unit = table.cell(line, "unit")
    if modality not in UNITS or unit in UNITS[modality]:
        return {}
    named = UNIT_WORDS.get(re.sub(r"[^a-z]", "", unit.lower()), "")
    if named in UNITS[modality]:
        return {"unit": named}
    other = next((kind for kind in ("ct", "pet") if named != "none" and named in UNITS[kind]), None)
    if other and _is_other(line, table, named, UNIT_OF[modality]):
        return {"modality": other, "unit": named}
    return {"unit": UNIT_OF[modality]}


def _is_other(line: int, table: Table, named: str, usual: str) -> bool:
    """Whether the values fit the unit that is named and not the one that the modality's scans have."""
    if not table.deep or (usual == "none" and named != "HU"):  # MR may have any value from 0 up
        return False
    path = table.folder / table.cell(line, "image").split(BETWEEN)[0].strip()
    return fits_unit(path, named) and (usual == "none" or not fits_unit(path, usual))


def _image(line: int, table: Table, found: dict[str, str]) -> dict[str, str]:
    names = [name.strip() for name in table.cell(line, "image").split(BETWEEN)]
    return {"image": BETWEEN.join(filter(None, names))} if any(names) and not all(names) else {}


def _label_set(line: int, table: Table, found: dict[str, str]) -> dict[str, str]:
    text = table.cell(line, "label_set")
    if text in LABEL_SETS or (text and is_label_set_file(text)):
        return {}
    if near := difflib.get_close_matches(text.lower(), LABEL_SETS, n=1):
        return {"label_set": near[0]}
    if text and (table.folder / f"{text}.json").is_file():
        return {"label_set": f"{text}.json"}
    label = table.cell(line, "label")
    ids = label_ids(table.folder / label) if label and table.deep else None
    fits = table.fitting_label_sets(ids) if ids else []
    return {"label_set": fits[0]} if fits else {}


def _age(line: int, table: Table, found: dict[str, str]) -> dict[str, str]:
    text = table.cell(line, "age")
    if text.lower() in NOTHING:
        return {"age": ""}
    match = AGE.fullmatch(text)
    years = match[1].replace(",", ".") if match else text
    return {"age": years} if years != text and float(years) <= 150 else {}


def _synthetic(line: int, table: Table, found: dict[str, str]) -> dict[str, str]:
    text = table.cell(line, "synthetic").lower()
    if text == "" or table.cell(line, "synthetic") == YES or text not in (*YES_WORDS, *NO_WORDS):
        return {}
    return {"synthetic": YES if text in YES_WORDS else ""}


# What finds the cells to change, given those found before it.
FINDERS: tuple[Callable[[int, Table, dict[str, str]], dict[str, str]], ...] = (
    _ids, _modality, _unit, _image, _label_set, _age, _synthetic,
)  # fmt: skip


def _advise_repeated(line: int, table: Table) -> Advice | None:
    first = next((other for other in table.records if other < line and _key(other, table) == _key(line, table)), None)
    if first is None:
        return None
    if table.cell(first, "image") == table.cell(line, "image"):
        return Advice(f"remove line {line}: line {first} has the same image")
    scan_id, modality = table.cell(line, "scan_id"), table.cell(line, "modality")
    taken = {table.cell(other, "scan_id") for other in table.records}
    names = [f"{scan_id}_{modality}", *(f"{scan_id}_{n}" for n in range(2, len(table.records) + 2))]
    name = next(name for name in names if name not in taken)
    return Advice(change("scan_id", name, line), {"scan_id": name})


def _key(line: int, table: Table) -> tuple[str, ...]:
    return tuple(table.cell(line, column) for column in ("cohort", "subject", "scan_id"))
