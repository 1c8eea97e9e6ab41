"""TotalSegmentator's meta.csv: sex, age, scanner and site of each subject, separated by semicolons."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from umd_engine.errors import ManifestError

KEY = "image_id"
EMPTY = ("", "nan", "none")  # what pandas writes for nothing
SEX = {"m": "M", "f": "F"}


def read_subject_table(path: Path) -> dict[str, dict[str, str]]:
    """Subject -> its columns of the manifest (sex, age in years, scanner, site), empty ones left out.

    The scanner is the manufacturer and the model. A table that does not exist is empty.

    Raises:
        ManifestError: it cannot be read, has no column image_id, or names a subject twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ManifestError(f"cannot read: {error.strerror}", where=path, mend="check its permissions") from None
    except UnicodeError:
        raise ManifestError("not UTF-8 text", where=path, mend="save it as UTF-8, or move it away") from None
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=";", restval="")
    if KEY not in (reader.fieldnames or ()):
        raise ManifestError(f"no column {KEY}", where=path, mend="its columns are separated by semicolons")
    subjects: dict[str, dict[str, str]] = {}
    for record in reader:
        name = record[KEY].strip()
        if name in subjects:
            raise ManifestError(f"line {reader.line_num} names {name} again", where=path, mend="keep one line")
        subjects[name] = _fields({key: _value(record, key) for key in record if key})
    return subjects


def _value(record: dict[str, str], column: str) -> str:
    text = (record[column] or "").strip()
    return "" if text.lower() in EMPTY else text


def _fields(record: dict[str, str]) -> dict[str, str]:
    sex = record.get("gender", "")
    fields = {
        "sex": SEX.get(sex.lower(), sex),
        "age": record.get("age", ""),
        "scanner": " ".join(filter(None, (record.get("manufacturer"), record.get("scanner_model")))),
        "site": record.get("institute", ""),
    }
    return {column: text for column, text in fields.items() if text}
