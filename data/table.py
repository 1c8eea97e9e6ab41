"""Tables of texts in CSV and Parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from umd_engine.data.atomic import atomic_file
from umd_engine.data.remote import is_remote, read_bytes
from umd_engine.errors import ManifestError, MissingFileError

BETWEEN = ";"  # the entries of a list


def read_table(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Columns, and every row's texts with its line (of a Parquet file its number, from 1).

    A CSV row of another length than the header has None among its keys or values.

    Raises:
        MissingFileError: no such file. ManifestError: it cannot be read as a table.
    """
    parse = _read_parquet if _is_parquet(path) else _read_csv
    try:
        return parse(read_bytes(path))
    except FileNotFoundError:
        raise MissingFileError("no such manifest", where=path, mend="check the path") from None
    except OSError as error:
        raise ManifestError(
            f"cannot read: {error.strerror or error}", where=path, mend="check its permissions"
        ) from None
    except UnicodeError:
        raise ManifestError("not UTF-8 text", where=path, mend="save it as UTF-8") from None
    except (ValueError, csv.Error) as error:  # pyarrow's errors are ValueErrors
        raise ManifestError(f"cannot be read as a table: {error}", where=path, mend="export it again") from None


def write_table(path: Path, columns: Sequence[str], records: Sequence[dict[str, str]]) -> None:
    """Write rows of texts; columns that a record has beyond `columns` are left out.

    Raises:
        ManifestError: another ending, or a folder that is not writable.
    """
    content = (_parquet if _is_parquet(path) else _csv)(columns, records)
    try:
        with atomic_file(path) as file:
            file.write(content)
    except OSError as error:
        raise ManifestError(f"cannot write: {error.strerror}", where=path, mend="check the folder") from None


def _is_parquet(path: Path) -> bool:
    suffix = PurePath(str(path).partition("?")[0]).suffix if is_remote(path) else path.suffix
    if suffix not in (".csv", ".parquet"):
        raise ManifestError("neither a .csv nor a .parquet file", where=path, mend="rename or convert it")
    return suffix == ".parquet"


def _read_csv(content: bytes) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    if b"\0" in content:
        raise UnicodeError  # UTF-16 without its mark
    # utf-8-sig: spreadsheets put a byte order mark first
    reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
    columns = [column.strip() for column in reader.fieldnames or ()]
    reader.fieldnames = columns
    return columns, [(reader.line_num, record) for record in reader]


def _read_parquet(content: bytes) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(pyarrow.BufferReader(content))
    records = ({c: _text(v) for c, v in record.items()} for record in table.to_pylist())
    return list(table.column_names), list(enumerate(records, start=1))


def _text(value: Any) -> str:
    """A Parquet value as a CSV file would hold it: None and NaN are empty, lists are joined."""
    if value is None or value != value:
        return ""
    return BETWEEN.join(map(str, value)) if isinstance(value, list) else str(value)


def _csv(columns: Sequence[str], records: Sequence[dict[str, str]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue().encode()


def _parquet(columns: Sequence[str], records: Sequence[dict[str, str]]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    sink = pyarrow.BufferOutputStream()
    table = pyarrow.table({c: pyarrow.array([r[c] or None for r in records], pyarrow.string()) for c in columns})
    pyarrow.parquet.write_table(table, sink)
    return bytes(sink.getvalue())
